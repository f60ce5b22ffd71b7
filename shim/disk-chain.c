/* Runs chains of disk requests: merges neighbours, narrows errors down, aligns for O_DIRECT. */
#define _GNU_SOURCE
#include "disk.h"
#include "disk-run.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SECTOR_BYTES 512
#define BOUNCE_ALIGNMENT 4096

static uint8_t *slot_memory(const struct disk_table *table, const struct disk_slot *slot)
{
    double end = slot->memory_offset + slot->length;
    if (!(slot->memory_offset >= 0 && slot->length >= 0 && end <= (double)table->memory_bytes))
        return NULL;
    return table->memory + (size_t)slot->memory_offset;
}

int32_t gather_run(const struct disk_table *table, int32_t index, struct run *run)
{
    struct disk_slot *first = &table->slots[index];
    run->descriptor = first->descriptor;
    run->operation = first->operation;
    run->alignment = first->alignment;
    run->offset = (int64_t)first->file_offset;
    run->length = 0;
    run->count = 0;

    while (index >= 0 && index < table->slot_count && run->count < RUN_SLOTS) {
        struct disk_slot *slot = &table->slots[index];
        if (slot->operation != run->operation || slot->descriptor != run->descriptor ||
            (int64_t)slot->file_offset != run->offset + run->length)
            break;
        uint8_t *memory = slot_memory(table, slot);
        if (memory == NULL) {
            if (run->count > 0)
                break;
            slot->error = EFAULT;
            slot->done = 0;
            return slot->next;
        }
        run->vectors[run->count] = (struct iovec){memory, (size_t)slot->length};
        run->slots[run->count++] = slot;
        run->length += (int64_t)slot->length;
        index = slot->next;
    }
    return index;
}

/* Moves all of the vectors, which it changes, or returns an errno. ENODATA: the file ends before. */
static int move_vectors(const struct run *run, struct iovec *vectors, int count, int64_t offset)
{
    while (count > 0) {
        ssize_t moved = run->operation == DISK_READ
                            ? preadv(run->descriptor, vectors, count, offset)
                            : pwritev(run->descriptor, vectors, count, offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return errno;
        if (moved == 0)
            return run->operation == DISK_READ ? ENODATA : EIO;
        offset += moved;
        while (count > 0 && (size_t)moved >= vectors->iov_len) {
            moved -= (ssize_t)vectors->iov_len;
            vectors++;
            count--;
        }
        if (count > 0) {
            vectors->iov_base = (uint8_t *)vectors->iov_base + moved;
            vectors->iov_len -= (size_t)moved;
        }
    }
    return 0;
}

bool vectors_aligned(const struct iovec *vectors, int count, int64_t offset, int32_t alignment)
{
    uintptr_t misaligned = (uintptr_t)offset % (uintptr_t)alignment;
    for (int index = 0; index < count; index++)
        misaligned |= (uintptr_t)vectors[index].iov_base % SECTOR_BYTES |
                      vectors[index].iov_len % (uintptr_t)alignment;
    return misaligned == 0;
}

static void copy_vectors(const struct iovec *vectors, int count, uint8_t *bounce, bool to_bounce)
{
    for (int index = 0; index < count; index++) {
        if (to_bounce)
            memcpy(bounce, vectors[index].iov_base, vectors[index].iov_len);
        else
            memcpy(vectors[index].iov_base, bounce, vectors[index].iov_len);
        bounce += vectors[index].iov_len;
    }
}

static int move_block(const struct run *run, int32_t operation, uint8_t *memory, size_t length,
                      int64_t offset)
{
    struct run block = {.descriptor = run->descriptor, .operation = operation};
    struct iovec vector = {memory, length};
    return move_vectors(&block, &vector, 1, offset);
}

/* O_DIRECT for a range that is not made of whole blocks: moves the blocks around it. */
static int move_bounced(const struct run *run, const struct iovec *vectors, int count,
                        int64_t offset, int64_t length)
{
    int64_t block = run->alignment;
    int64_t start = offset / block * block;
    int64_t end = (offset + length + block - 1) / block * block;
    size_t covered = (size_t)(end - start);
    uint8_t *bounce;
    if (posix_memalign((void **)&bounce, BOUNCE_ALIGNMENT, covered) != 0)
        return ENOMEM;

    int error = 0;
    if (run->operation == DISK_READ) {
        error = move_block(run, DISK_READ, bounce, covered, start);
        if (error == 0)
            copy_vectors(vectors, count, bounce + (offset - start), false);
    } else {
        if (offset != start)
            error = move_block(run, DISK_READ, bounce, (size_t)block, start);
        bool last_block_read = offset != start && end - start == block;
        if (error == 0 && offset + length != end && !last_block_read)
            error = move_block(run, DISK_READ, bounce + covered - block, (size_t)block, end - block);
        if (error == 0) {
            copy_vectors(vectors, count, bounce + (offset - start), true);
            error = move_block(run, DISK_WRITE, bounce, covered, start);
        }
    }
    free(bounce);
    return error;
}

static int move_range(const struct run *run, struct iovec *vectors, int count, int64_t offset,
                      int64_t length)
{
    if (run->alignment == 0 || vectors_aligned(vectors, count, offset, run->alignment))
        return move_vectors(run, vectors, count, offset);
    return move_bounced(run, vectors, count, offset, length);
}

static int move_slot(const struct run *run, const struct disk_slot *slot, uint8_t *memory,
                     int64_t start, int64_t length)
{
    int64_t offset = (int64_t)slot->file_offset + start;
    struct iovec vector = {memory + start, (size_t)length};
    int error = move_range(run, &vector, 1, offset, length);
    if (error == EINVAL && run->alignment > 0) {
        /* A device that asks more of the memory than sectors do. */
        vector = (struct iovec){memory + start, (size_t)length};
        error = move_bounced(run, &vector, 1, offset, length);
    }
    return error;
}

/* A request whose run failed: alone, and a read that fails again, sector by sector. */
static void retry_slot(const struct run *run, struct disk_slot *slot, uint8_t *memory)
{
    int64_t length = (int64_t)slot->length;
    slot->done = 0;
    slot->error = move_slot(run, slot, memory, 0, length);
    if (slot->error == 0 || run->operation != DISK_READ)
        return;
    for (int64_t start = 0; start < length; start += SECTOR_BYTES) {
        int64_t rest = length - start;
        int error = move_slot(run, slot, memory, start, rest < SECTOR_BYTES ? rest : SECTOR_BYTES);
        if (error != 0) {
            slot->error = error;
            return;
        }
        slot->done = (double)(start + SECTOR_BYTES);
    }
    slot->error = 0;
}

static void finish_run(struct run *run)
{
    /* The vectors are consumed while they are moved; the slots' memory is needed for a retry. */
    uint8_t *memory[RUN_SLOTS];
    for (int index = 0; index < run->count; index++)
        memory[index] = run->vectors[index].iov_base;

    int error = move_range(run, run->vectors, run->count, run->offset, run->length);
    for (int index = 0; index < run->count; index++) {
        if (error == 0)
            run->slots[index]->error = 0;
        else
            retry_slot(run, run->slots[index], memory[index]);
    }
}

static int write_zeros(const struct disk_slot *slot, int64_t offset, int64_t length)
{
    static const uint8_t zeros[4096];
    while (length > 0) {
        size_t part = length < (int64_t)sizeof zeros ? (size_t)length : sizeof zeros;
        struct run run = {.descriptor = slot->descriptor,
                          .operation = DISK_WRITE,
                          .alignment = slot->alignment};
        struct iovec vector = {(void *)(uintptr_t)zeros, part};
        int error = move_range(&run, &vector, 1, offset, (int64_t)part);
        if (error != 0)
            return error;
        offset += (int64_t)part;
        length -= (int64_t)part;
    }
    return 0;
}

/* The whole blocks of the range are given back; the edges of a punched range are overwritten. */
static int trim(const struct disk_slot *slot)
{
    int64_t block = slot->trim_alignment > 0 ? slot->trim_alignment : 1;
    int64_t start = (int64_t)slot->file_offset;
    int64_t end = start + (int64_t)slot->length;
    int64_t inner_start = (start + block - 1) / block * block;
    int64_t inner_end = end / block * block;
    bool whole_blocks = inner_start < inner_end;

    if (slot->operation == DISK_DISCARD) {
        uint64_t range[2] = {(uint64_t)inner_start, (uint64_t)(inner_end - inner_start)};
        return whole_blocks && ioctl(slot->descriptor, BLKDISCARD, range) != 0 ? errno : 0;
    }
    if (!whole_blocks)
        return write_zeros(slot, start, end - start);
    int error;
    do {
        error = fallocate(slot->descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, inner_start,
                          inner_end - inner_start) != 0
                    ? errno
                    : 0;
    } while (error == EINTR);
    if (error == 0)
        error = write_zeros(slot, start, inner_start - start);
    if (error == 0)
        error = write_zeros(slot, inner_end, end - inner_end);
    return error;
}

void disk_run_chain(const struct disk_table *table, int32_t head)
{
    int32_t index = head;
    while (index >= 0 && index < table->slot_count) {
        struct disk_slot *slot = &table->slots[index];
        if (slot->operation == DISK_READ || slot->operation == DISK_WRITE) {
            struct run run;
            index = gather_run(table, index, &run);
            if (run.count > 0)
                finish_run(&run);
            continue;
        }
        if (slot->operation == DISK_SYNC)
            slot->error = fdatasync(slot->descriptor) != 0 ? errno : 0;
        else
            slot->error = trim(slot);
        index = slot->next;
    }
}

static ssize_t write_now(struct run *run, int32_t *flags)
{
    if ((*flags & (DISK_IN_MEMORY | DISK_NO_NOWAIT_WRITE)) == 0) {
        ssize_t moved =
            pwritev2(run->descriptor, run->vectors, run->count, run->offset, RWF_NOWAIT);
        if (moved >= 0 || errno != EOPNOTSUPP)
            return moved;
        *flags |= DISK_NO_NOWAIT_WRITE;
    }
    /* A plain write may wait for the journal or for others' dirty pages: that is for a thread. */
    if ((*flags & DISK_IN_MEMORY) == 0)
        return -1;
    return pwritev(run->descriptor, run->vectors, run->count, run->offset);
}

static ssize_t read_now(struct run *run, int32_t *flags)
{
    if (*flags & DISK_IN_MEMORY)
        return preadv(run->descriptor, run->vectors, run->count, run->offset);
    if (*flags & DISK_NO_NOWAIT_READ)
        return -1;
    ssize_t moved = preadv2(run->descriptor, run->vectors, run->count, run->offset, RWF_NOWAIT);
    if (moved < 0 && errno == EOPNOTSUPP)
        *flags |= DISK_NO_NOWAIT_READ;
    return moved;
}

static void mark_blocked(const struct disk_table *table, int32_t index)
{
    for (; index >= 0 && index < table->slot_count; index = table->slots[index].next)
        table->slots[index].error = EAGAIN;
}

int disk_run_now(const struct disk_table *table, int32_t head)
{
    int32_t *flags = &table->slots[head].flags;
    int32_t index = head;
    int done = 0;
    while (index >= 0 && index < table->slot_count) {
        struct run run;
        index = gather_run(table, index, &run);
        if (run.count == 0)
            continue;
        ssize_t moved = run.operation == DISK_READ ? read_now(&run, flags) : write_now(&run, flags);
        int64_t covered = 0;
        for (int slot = 0; slot < run.count; slot++) {
            covered += (int64_t)run.slots[slot]->length;
            run.slots[slot]->error = moved >= covered ? 0 : EAGAIN;
            done += moved >= covered;
        }
        if (run.operation == DISK_WRITE && moved < covered) {
            mark_blocked(table, index);
            break;
        }
    }
    return done;
}
