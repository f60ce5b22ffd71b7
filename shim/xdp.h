/*
 * AF_XDP: a program of ours in the interface's receive path hands the frames of one EtherType to
 * sockets whose rings and memory this process shares with the kernel (linux/if_xdp.h). How it is
 * built up, and why so, is in docs/adr/0009-af-xdp.md.
 */
#ifndef AOED_XDP_H
#define AOED_XDP_H

#include "shim.h"

#include <linux/if_xdp.h>

/* One socket for each receive queue of the interface. */
#define XDP_QUEUES_MAXIMUM 64

/*
 * The kernel takes no larger chunks than a page. A page is 4 KiB on every machine that we run on;
 * on others smaller chunks than the page are allowed as well.
 */
#define XDP_CHUNK_BYTES 4096

/* Since Linux 6.6; older headers do not name them. */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif
/* Since Linux 6.18. */
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

/*
 * One of the four rings of a socket. `producer` and `consumer` are counters that only grow; the
 * kernel moves one of them and we the other.
 */
struct xdp_ring {
    uint32_t *producer;
    uint32_t *consumer;
    uint32_t *flags;
    void *entries;
    uint32_t mask;
    void *mapping;
    size_t mapping_bytes;
};

struct xdp_queue {
    int descriptor;
    /* Chunks that the kernel may fill, and frames that it has put into some. */
    struct xdp_ring fill;
    struct xdp_ring receive;
    /* Frames to be sent, and chunks whose frames have been. Only the first queue sends. */
    struct xdp_ring transmit;
    struct xdp_ring completion;
};

/*
 * ```
 *   memory   | chunks of queue 0 | chunks of queue 1 | … | chunks for sending |
 * ```
 * A chunk for sending is free (its number is in `free_chunks`) or the kernel has it.
 */
struct xdp_sockets {
    int map;
    int program;
    int link;
    int epoll;
    uint8_t *memory;
    size_t memory_bytes;
    uint32_t chunks_per_queue;
    uint32_t transmit_chunks;
    uint32_t *free_chunks;
    uint32_t free_count;
    bool multi_buffer;
    bool zero_copy;
    /* Frames that the interface dropped instead of sending them. */
    uint64_t send_drops;
    int queue_count;
    /* Which queue is read first in the next batch, so that a busy one does not starve others. */
    int next_queue;
    struct xdp_queue queues[XDP_QUEUES_MAXIMUM];
};

/* shim/xdp-program.c. All return 0 or a negative errno. */
int xdp_program_load(struct xdp_sockets *sockets, uint32_t queues, uint16_t ether_type,
                     bool multi_buffer);
int xdp_program_attach(struct xdp_sockets *sockets, uint32_t interface_index, bool native);
int xdp_program_redirect(const struct xdp_sockets *sockets, uint32_t queue, int descriptor);
int xdp_program_pass(const struct xdp_sockets *sockets, uint32_t queue);
void shim_register_xdp_program(napi_env env, napi_value exports);

/* shim/xdp-queue.c: the socket of the next queue. Returns 0 or a negative errno. */
int xdp_queue_open(struct xdp_sockets *sockets, uint32_t interface_index, uint16_t bind_flags,
                   int send_buffer_bytes);
void xdp_queue_close(struct xdp_queue *queue);

/* shim/xdp-frames.c */
void shim_register_xdp_frames(napi_env env, napi_value exports);

/* shim/xdp.c: what xdpOpen returned, or NULL after a programming error, which has been thrown. */
struct xdp_sockets *xdp_sockets_of(napi_env env, napi_value value);

/* The counters are shared with the kernel: what it wrote before it moved them is seen after. */
static inline uint32_t xdp_load(const uint32_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

static inline void xdp_store(uint32_t *counter, uint32_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELEASE);
}

static inline bool xdp_needs_wakeup(const struct xdp_ring *ring)
{
    return (__atomic_load_n(ring->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) != 0;
}

static inline struct xdp_desc *xdp_descriptor_at(const struct xdp_ring *ring, uint32_t counter)
{
    return (struct xdp_desc *)ring->entries + (counter & ring->mask);
}

static inline uint64_t *xdp_address_at(const struct xdp_ring *ring, uint32_t counter)
{
    return (uint64_t *)ring->entries + (counter & ring->mask);
}

#endif
