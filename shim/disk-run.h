/* The part of a chain that is one system call: what disk-chain.c and disk-ring.c share. */
#ifndef AOED_DISK_RUN_H
#define AOED_DISK_RUN_H

#include "disk.h"

#include <stdbool.h>
#include <sys/uio.h>

#define RUN_SLOTS 128

/* Requests of a chain whose ranges of the file follow each other. */
struct run {
    int descriptor;
    int32_t operation;
    int32_t alignment;
    int count;
    int64_t offset;
    int64_t length;
    struct disk_slot *slots[RUN_SLOTS];
    struct iovec vectors[RUN_SLOTS];
};

/* Fills `run` from the slot `index` on; returns the first slot that is not part of it. */
int32_t gather_run(const struct disk_table *table, int32_t index, struct run *run);

/* Whether O_DIRECT takes these vectors at this offset as they are. */
bool vectors_aligned(const struct iovec *vectors, int count, int64_t offset, int32_t alignment);

#endif
