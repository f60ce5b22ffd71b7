/*
 * Disk requests in memory that JavaScript and the worker threads share.
 *
 *   table    | slot 0 | slot 1 | slot 2 | …      one slot per request, 64 bytes
 *                 │next     ▲ │next
 *                 └─────────┘ └──► -1            a chain: one job, run from its head by one thread
 *
 * JavaScript fills slots, links them into chains and names the heads; the result of every request
 * is left in its slot. Requests of a chain that follow each other in the file are one system call.
 */
#ifndef AOED_DISK_H
#define AOED_DISK_H

#include <stddef.h>
#include <stdint.h>

enum disk_operation {
    DISK_READ = 0,
    DISK_WRITE = 1,
    DISK_SYNC = 2,
    /* Frees the range and makes it read as zeros (files, and devices that can). */
    DISK_PUNCH = 3,
    /* Tells a device that the range is not needed; what it reads as is not said. */
    DISK_DISCARD = 4,
};

/* What disk_run_now learned about the file system; kept by JavaScript in the head's `flags`. */
enum disk_flags {
    DISK_IN_MEMORY = 1, /* the file is in memory altogether (tmpfs): nothing blocks */
    DISK_NO_NOWAIT_READ = 2,
    DISK_NO_NOWAIT_WRITE = 4,
};

/* The layout is repeated in src/storage/disk-queue.ts. */
struct disk_slot {
    double file_offset;   /* bytes */
    double memory_offset; /* bytes from the start of the arena */
    double length;        /* bytes */
    double done;          /* set on failure of a read: bytes that are good before the bad sector */
    int32_t operation;
    int32_t next; /* the next slot of the chain, or -1 */
    int32_t error; /* set: 0 or an errno; EAGAIN from disk_run_now means "would block" */
    int32_t descriptor;
    int32_t alignment; /* 0: through the page cache; else O_DIRECT in blocks of so many bytes */
    int32_t trim_alignment; /* a DISK_PUNCH or DISK_DISCARD must be in blocks of so many bytes */
    int32_t flags;
    int32_t queue_next; /* of the queue of jobs; not touched by JavaScript */
};

struct disk_table {
    struct disk_slot *slots;
    int32_t slot_count;
    uint8_t *memory;
    size_t memory_bytes;
};

/* Runs a chain to its end, blocking as long as the disk takes. */
void disk_run_chain(const struct disk_table *table, int32_t head);

/*
 * Runs what a chain of reads, or of writes, can do without waiting for a disk. Requests that would
 * wait get EAGAIN and may have been done in part; with writes so does all that comes after the
 * first of them, because writes may overlap. Returns how many are done.
 */
int disk_run_now(const struct disk_table *table, int32_t head);

#endif
