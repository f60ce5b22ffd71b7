/*
 * An io_uring for the requests of one disk: reads, and writes past the page cache, are begun by the
 * event loop's own thread, so that no thread has to be woken and a disk has as many under way as
 * there are. It is the fast path alone: whatever it does not take, or does not finish as a whole, is
 * for a worker thread, which does it again and finds out what is wrong.
 */
#ifndef AOED_DISK_RING_H
#define AOED_DISK_RING_H

#include "disk.h"

#include <stdbool.h>

struct disk_ring;

/* NULL where io_uring is not to be had: no such system call, forbidden, or no memory for it. */
struct disk_ring *disk_ring_open(const struct disk_table *table);

/* Becomes readable when jobs have ended. */
int disk_ring_descriptor(const struct disk_ring *ring);

/*
 * Notes the chain for the next disk_ring_enter, when the ring takes it: one run of reads or of
 * aligned O_DIRECT writes, and room for it.
 */
bool disk_ring_add(struct disk_ring *ring, int32_t head);

/* Begins what was noted. The kernel may be out of memory: see disk_ring_take_refused. */
void disk_ring_enter(struct disk_ring *ring);

/* The next job that disk_ring_enter could not begin, or -1. */
int32_t disk_ring_take_refused(struct disk_ring *ring);

/* Makes the kernel note what has ended, when the descriptor is readable. */
void disk_ring_gather(struct disk_ring *ring);

/* The next job that has ended, or -1. `*done`: all of it; else it is as if it had not begun. */
int32_t disk_ring_take(struct disk_ring *ring, bool *done);

/* Waits for what is under way, so that the memory may go, and frees the ring. */
void disk_ring_close(struct disk_ring *ring);

#endif
