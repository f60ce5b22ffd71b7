// Measures how long a program on a mounted disk has to wait for it: writes a block of a file and
// makes it durable, again and again, until it is told to stop.
//
//   pause-meter FILE NOTES ENOUGH
//
// Ends when the file ENOUGH exists, and prints one line: how many writes there were, the longest of
// them and the median, in milliseconds. Meanwhile the file NOTES holds how many there were, one line,
// rewritten in place.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, BLOCKS = 256, WRITES_LIMIT = 1 << 20 };

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void note(int file, uint32_t writes)
{
    char line[16];
    int length = snprintf(line, sizeof line, "%010u\n", (unsigned)writes);
    // Until the host has it, but not until the host's disk has it.
    if (pwrite(file, line, (size_t)length, 0) != length ||
        sync_file_range(file, 0, length,
            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) < 0) {
        fail("notes");
    }
}

static int ascending(const void *a, const void *b)
{
    float first = *(const float *)a;
    float second = *(const float *)b;
    return (first > second) - (first < second);
}

int main(int count, char **arguments)
{
    if (count != 4) {
        fprintf(stderr, "usage: pause-meter FILE NOTES ENOUGH\n");
        return 2;
    }
    int file = open(arguments[1], O_WRONLY | O_CREAT, 0644);
    int notes = open(arguments[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    float *waits = malloc(WRITES_LIMIT * sizeof *waits);
    if (file < 0 || notes < 0 || waits == NULL) {
        fail(arguments[1]);
    }
    char block[BLOCK_BYTES];
    uint32_t writes = 0;
    while (writes < WRITES_LIMIT && access(arguments[3], F_OK) != 0) {
        memset(block, (int)(writes & 0xff), sizeof block);
        double start = milliseconds();
        if (pwrite(file, block, sizeof block, (off_t)(writes % BLOCKS) * BLOCK_BYTES) != BLOCK_BYTES ||
            fdatasync(file) < 0) {
            fail("write");
        }
        waits[writes] = (float)(milliseconds() - start);
        note(notes, ++writes);
    }
    if (writes == 0) {
        fprintf(stderr, "pause-meter: told to stop before the first write\n");
        return 1;
    }
    qsort(waits, writes, sizeof *waits, ascending);
    printf("%u %.1f %.1f\n", (unsigned)writes, (double)waits[writes - 1], (double)waits[writes / 2]);
    return 0;
}
