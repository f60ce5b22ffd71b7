// Writes numbered records to a disk and notes each that the disk has acknowledged, so that somebody
// else can see whether a server lost one of them.
//
//   record-writer DISK NOTES COUNT WRITERS ENOUGH
//
// The last tenth of the records is written when the file ENOUGH is there: until then the writers are
// not done, however fast they are.
//
// Record n is the n-th 4096 octets of the disk, written once, with O_DIRECT and O_SYNC. Its words of
// 32 bits, little-endian: n, then xorshift32 from a start that depends on n. WRITERS processes share
// the records; writer w takes those with n % WRITERS == w, in order, and notes its last completed one
// in the file NOTES.w as the count of its own completed records, one line, rewritten in place.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RECORD_BYTES = 4096, RECORD_WORDS = RECORD_BYTES / 4 };

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void fill(uint32_t *words, uint32_t number)
{
    uint32_t state = number * UINT32_C(2654435761) | 1;
    words[0] = number;
    for (int i = 1; i < RECORD_WORDS; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        words[i] = state;
    }
}

static void note(int file, uint32_t completed)
{
    char line[16];
    int length = snprintf(line, sizeof line, "%010u\n", (unsigned)completed);
    if (pwrite(file, line, (size_t)length, 0) != length) {
        fail("notes");
    }
    // Until the host has it, but not until the host's disk has it.
    if (sync_file_range(file, 0, length,
            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) < 0) {
        fail("notes");
    }
}

static void wait_for(const char *name)
{
    while (access(name, F_OK) != 0) {
        usleep(10000);
    }
}

static int write_records(const char *disk, const char *notes, uint32_t count, uint32_t writers, uint32_t writer,
    const char *enough)
{
    char name[4096];
    snprintf(name, sizeof name, "%s.%u", notes, (unsigned)writer);
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int out = open(disk, O_WRONLY | O_DIRECT | O_SYNC);
    uint32_t *words = aligned_alloc(RECORD_BYTES, RECORD_BYTES);
    if (file < 0 || out < 0 || words == NULL) {
        fail(disk);
    }
    uint32_t completed = 0;
    for (uint32_t number = writer; number < count; number += writers) {
        if (number >= count / 10 * 9) {
            wait_for(enough);
        }
        fill(words, number);
        if (pwrite(out, words, RECORD_BYTES, (off_t)number * RECORD_BYTES) != RECORD_BYTES) {
            fail("write");
        }
        note(file, ++completed);
    }
    return 0;
}

int main(int count, char **arguments)
{
    if (count != 6) {
        fprintf(stderr, "usage: record-writer DISK NOTES COUNT WRITERS ENOUGH\n");
        return 2;
    }
    uint32_t records = (uint32_t)strtoul(arguments[3], NULL, 10);
    uint32_t writers = (uint32_t)strtoul(arguments[4], NULL, 10);
    for (uint32_t writer = 0; writer < writers; writer++) {
        pid_t child = fork();
        if (child < 0) {
            fail("fork");
        }
        if (child == 0) {
            return write_records(arguments[1], arguments[2], records, writers, writer, arguments[5]);
        }
    }
    int result = 0;
    int status;
    while (wait(&status) > 0) {
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            result = 1;
        }
    }
    return result;
}
