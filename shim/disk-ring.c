/* See disk-ring.h. Through the kernel's own interface (io_uring(7)), without liburing. */
#define _GNU_SOURCE
#include "disk-ring.h"
#include "disk-run.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Jobs under way: more than a disk takes at once, and what is beyond goes to the threads. */
#define RING_JOBS 512

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

struct ring_job {
    int32_t head;
    int32_t next_free;
    int64_t length;
};

struct disk_ring {
    struct disk_table table;
    int descriptor;
    /* Signalled when something has ended: the ring itself is not readable before it was asked. */
    int event;
    uint8_t *rings; /* both queues' heads and tails, and the completions */
    size_t rings_bytes;
    struct io_uring_sqe *entries;
    size_t entries_bytes;
    _Atomic uint32_t *submit_tail, *complete_head, *complete_tail;
    uint32_t submit_mask, complete_mask;
    uint32_t *submit_array;
    struct io_uring_cqe *completions;

    uint32_t noted; /* entries that the kernel has not been given */
    int under_way;
    int32_t free_job;
    /* Jobs that the kernel would not begin, chained by next_free. */
    int32_t refused;
    struct ring_job jobs[RING_JOBS];
    /* Of each job; a page of them takes memory when it is first used. */
    struct iovec vectors[RING_JOBS][RUN_SLOTS];
};

static int ring_enter(const struct disk_ring *ring, uint32_t submit, uint32_t wait, uint32_t flags)
{
    int result;
    do {
        result = (int)syscall(SYS_io_uring_enter, ring->descriptor, submit, wait, flags, NULL, 0);
    } while (result < 0 && errno == EINTR);
    return result;
}

/* Completions are delivered when this thread asks for them, where the kernel can (Linux 6.1). */
static int ring_setup(struct io_uring_params *parameters)
{
    static const uint32_t flags[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0};
    int descriptor = -1;
    for (size_t index = 0; index < 2 && descriptor < 0; index++) {
        memset(parameters, 0, sizeof *parameters);
        parameters->flags = flags[index] | IORING_SETUP_CLAMP;
        descriptor = (int)syscall(SYS_io_uring_setup, RING_JOBS, parameters);
    }
    return descriptor;
}

static bool map_rings(struct disk_ring *ring, const struct io_uring_params *parameters)
{
    size_t submit_bytes =
        parameters->sq_off.array + parameters->sq_entries * sizeof(uint32_t);
    size_t complete_bytes =
        parameters->cq_off.cqes + parameters->cq_entries * sizeof(struct io_uring_cqe);
    ring->rings_bytes = submit_bytes > complete_bytes ? submit_bytes : complete_bytes;
    ring->entries_bytes = parameters->sq_entries * sizeof(struct io_uring_sqe);
    int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
    void *rings = mmap(NULL, ring->rings_bytes, protection, flags, ring->descriptor,
                       IORING_OFF_SQ_RING);
    ring->rings = rings == MAP_FAILED ? NULL : rings;
    void *entries = mmap(NULL, ring->entries_bytes, protection, flags, ring->descriptor,
                         IORING_OFF_SQES);
    ring->entries = entries == MAP_FAILED ? NULL : entries;
    if (ring->rings == NULL || ring->entries == NULL)
        return false;

    ring->submit_tail = (void *)(ring->rings + parameters->sq_off.tail);
    ring->submit_mask = *(uint32_t *)(void *)(ring->rings + parameters->sq_off.ring_mask);
    ring->submit_array = (void *)(ring->rings + parameters->sq_off.array);
    ring->complete_head = (void *)(ring->rings + parameters->cq_off.head);
    ring->complete_tail = (void *)(ring->rings + parameters->cq_off.tail);
    ring->complete_mask = *(uint32_t *)(void *)(ring->rings + parameters->cq_off.ring_mask);
    ring->completions = (void *)(ring->rings + parameters->cq_off.cqes);
    return true;
}

static bool make_event(struct disk_ring *ring)
{
    ring->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return ring->event >= 0 && syscall(SYS_io_uring_register, ring->descriptor,
                                       IORING_REGISTER_EVENTFD, &ring->event, 1) == 0;
}

static void free_ring(struct disk_ring *ring)
{
    if (ring->entries != NULL)
        munmap(ring->entries, ring->entries_bytes);
    if (ring->rings != NULL)
        munmap(ring->rings, ring->rings_bytes);
    if (ring->descriptor >= 0)
        close(ring->descriptor);
    if (ring->event >= 0)
        close(ring->event);
    free(ring);
}

struct disk_ring *disk_ring_open(const struct disk_table *table)
{
    struct disk_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return NULL;
    ring->table = *table;
    ring->event = -1;
    struct io_uring_params parameters;
    ring->descriptor = ring_setup(&parameters);
    /* One mapping for both queues, no completion is lost, and (the last, Linux 5.6) IORING_OP_READ. */
    uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS;
    if (ring->descriptor < 0 || (parameters.features & needed) != needed ||
        parameters.sq_entries < RING_JOBS || !map_rings(ring, &parameters) || !make_event(ring)) {
        free_ring(ring);
        return NULL;
    }
    for (int32_t job = 0; job < RING_JOBS; job++)
        ring->jobs[job].next_free = job + 1 < RING_JOBS ? job + 1 : -1;
    ring->refused = -1;
    return ring;
}

int disk_ring_descriptor(const struct disk_ring *ring)
{
    return ring->event;
}

/* Writes through the page cache are for a thread: the kernel would give them to one of its own. */
static bool takes_run(const struct run *run)
{
    if (run->count == 0 || (run->operation != DISK_READ && run->operation != DISK_WRITE))
        return false;
    if (run->alignment == 0)
        return run->operation == DISK_READ;
    return vectors_aligned(run->vectors, run->count, run->offset, run->alignment);
}

/* One range of memory costs the kernel less than a list of one. */
static void fill_memory(struct io_uring_sqe *entry, const struct run *run, struct iovec *kept)
{
    bool is_read = run->operation == DISK_READ;
    if (run->count == 1) {
        entry->opcode = is_read ? IORING_OP_READ : IORING_OP_WRITE;
        entry->addr = (uint64_t)(uintptr_t)run->vectors[0].iov_base;
        entry->len = (uint32_t)run->vectors[0].iov_len;
        return;
    }
    memcpy(kept, run->vectors, (size_t)run->count * sizeof run->vectors[0]);
    entry->opcode = is_read ? IORING_OP_READV : IORING_OP_WRITEV;
    entry->addr = (uint64_t)(uintptr_t)kept;
    entry->len = (uint32_t)run->count;
}

bool disk_ring_add(struct disk_ring *ring, int32_t head)
{
    int32_t index = ring->free_job;
    if (index < 0)
        return false;
    struct run run;
    if (gather_run(&ring->table, head, &run) >= 0 || !takes_run(&run))
        return false;

    struct ring_job *job = &ring->jobs[index];
    ring->free_job = job->next_free;
    job->head = head;
    job->length = run.length;
    uint32_t tail = atomic_load_explicit(ring->submit_tail, memory_order_relaxed);
    uint32_t place = tail & ring->submit_mask;
    struct io_uring_sqe *entry = &ring->entries[place];
    memset(entry, 0, sizeof *entry);
    entry->fd = run.descriptor;
    entry->off = (uint64_t)run.offset;
    entry->user_data = (uint64_t)index;
    fill_memory(entry, &run, ring->vectors[index]);
    ring->submit_array[place] = place;
    atomic_store_explicit(ring->submit_tail, tail + 1, memory_order_release);
    ring->noted++;
    ring->under_way++;
    return true;
}

/* Takes back the entries that the kernel has not taken, which it does not look at until told. */
static void refuse_noted(struct disk_ring *ring)
{
    uint32_t tail = atomic_load_explicit(ring->submit_tail, memory_order_relaxed);
    for (; ring->noted > 0; ring->noted--) {
        int32_t index = (int32_t)ring->entries[--tail & ring->submit_mask].user_data;
        ring->jobs[index].next_free = ring->refused;
        ring->refused = index;
    }
    atomic_store_explicit(ring->submit_tail, tail, memory_order_release);
}

void disk_ring_enter(struct disk_ring *ring)
{
    while (ring->noted > 0) {
        int begun = ring_enter(ring, ring->noted, 0, 0);
        if (begun <= 0) {
            /* No memory, or too many completions wait: rare, and threads need neither. */
            refuse_noted(ring);
            return;
        }
        ring->noted -= (uint32_t)begun;
    }
}

static int32_t end_job(struct disk_ring *ring, int32_t index)
{
    struct ring_job *job = &ring->jobs[index];
    job->next_free = ring->free_job;
    ring->free_job = index;
    ring->under_way--;
    return job->head;
}

static void mark_done(const struct disk_table *table, int32_t head)
{
    for (int32_t index = head; index >= 0; index = table->slots[index].next)
        table->slots[index].error = 0;
}

int32_t disk_ring_take_refused(struct disk_ring *ring)
{
    int32_t index = ring->refused;
    if (index < 0)
        return -1;
    ring->refused = ring->jobs[index].next_free;
    return end_job(ring, index);
}

int32_t disk_ring_take(struct disk_ring *ring, bool *done)
{
    *done = false;
    uint32_t head = atomic_load_explicit(ring->complete_head, memory_order_relaxed);
    if (head == atomic_load_explicit(ring->complete_tail, memory_order_acquire))
        return -1;
    struct io_uring_cqe *completion = &ring->completions[head & ring->complete_mask];
    int32_t index = (int32_t)completion->user_data;
    *done = completion->res == ring->jobs[index].length;
    atomic_store_explicit(ring->complete_head, head + 1, memory_order_release);
    int32_t job_head = end_job(ring, index);
    if (*done)
        mark_done(&ring->table, job_head);
    return job_head;
}

void disk_ring_gather(struct disk_ring *ring)
{
    uint64_t events;
    /* Cleared before looking, so that what ends meanwhile wakes again. */
    if (read(ring->event, &events, sizeof events) < 0 && errno != EAGAIN)
        return;
    ring_enter(ring, 0, 0, IORING_ENTER_GETEVENTS);
}

void disk_ring_close(struct disk_ring *ring)
{
    bool done;
    while (disk_ring_take(ring, &done) >= 0)
        ;
    while (ring->under_way > 0 && ring_enter(ring, 0, 1, IORING_ENTER_GETEVENTS) >= 0) {
        while (disk_ring_take(ring, &done) >= 0)
            ;
    }
    free_ring(ring);
}
