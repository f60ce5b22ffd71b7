/* The AF_XDP socket of one receive queue, with its rings and its share of the memory. */
#define _GNU_SOURCE
#include "xdp.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* A queue that does not send still needs a completion ring. */
enum { UNUSED_COMPLETION_ENTRIES = 64 };

static uint32_t power_of_two_from(uint32_t least)
{
    uint32_t power = 1;
    while (power < least)
        power *= 2;
    return power;
}

static int set_option(int descriptor, int option, const void *value, socklen_t length)
{
    return setsockopt(descriptor, SOL_XDP, option, value, length) == 0 ? 0 : -errno;
}

static int map_ring(int descriptor, uint64_t page_offset, const struct xdp_ring_offset *offsets,
                    uint32_t entries, size_t entry_bytes, struct xdp_ring *ring)
{
    size_t length_bytes = (size_t)offsets->desc + (size_t)entries * entry_bytes;
    uint8_t *mapping = mmap(NULL, length_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                            descriptor, (off_t)page_offset);
    if (mapping == MAP_FAILED)
        return -errno;
    ring->mapping = mapping;
    ring->mapping_bytes = length_bytes;
    ring->producer = (uint32_t *)(void *)(mapping + offsets->producer);
    ring->consumer = (uint32_t *)(void *)(mapping + offsets->consumer);
    ring->flags = (uint32_t *)(void *)(mapping + offsets->flags);
    ring->entries = mapping + offsets->desc;
    ring->mask = entries - 1;
    return 0;
}

static void unmap_ring(struct xdp_ring *ring)
{
    if (ring->mapping != NULL)
        munmap(ring->mapping, ring->mapping_bytes);
    ring->mapping = NULL;
}

static int register_memory(const struct xdp_sockets *sockets, int descriptor)
{
    struct xdp_umem_reg memory = {
        .addr = (uint64_t)(uintptr_t)sockets->memory,
        .len = sockets->memory_bytes,
        .chunk_size = XDP_CHUNK_BYTES,
    };
    return set_option(descriptor, XDP_UMEM_REG, &memory, sizeof memory);
}

static int make_rings(const struct xdp_sockets *sockets, struct xdp_queue *queue, bool sends)
{
    uint32_t receive_entries = power_of_two_from(sockets->chunks_per_queue);
    uint32_t transmit_entries = power_of_two_from(sockets->transmit_chunks);
    uint32_t completion_entries = sends ? transmit_entries : UNUSED_COMPLETION_ENTRIES;
    const struct {
        int option;
        uint32_t entries;
    } sizes[] = {
        {XDP_UMEM_FILL_RING, receive_entries},
        {XDP_UMEM_COMPLETION_RING, completion_entries},
        {XDP_RX_RING, receive_entries},
        {XDP_TX_RING, sends ? transmit_entries : 0},
    };
    for (size_t index = 0; index < sizeof sizes / sizeof sizes[0]; index++) {
        int entries = (int)sizes[index].entries;
        int result = entries == 0 ? 0
                                  : set_option(queue->descriptor, sizes[index].option, &entries,
                                               sizeof entries);
        if (result != 0)
            return result;
    }

    struct xdp_mmap_offsets offsets;
    socklen_t length = sizeof offsets;
    if (getsockopt(queue->descriptor, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) != 0)
        return -errno;
    /* Before Linux 5.4 the rings had no flags, and need-wakeup was unknown. */
    if (length != sizeof offsets)
        return -EOPNOTSUPP;
    int result = map_ring(queue->descriptor, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr,
                          receive_entries, sizeof(uint64_t), &queue->fill);
    if (result == 0)
        result = map_ring(queue->descriptor, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr,
                          completion_entries, sizeof(uint64_t), &queue->completion);
    if (result == 0)
        result = map_ring(queue->descriptor, XDP_PGOFF_RX_RING, &offsets.rx, receive_entries,
                          sizeof(struct xdp_desc), &queue->receive);
    if (result == 0 && sends)
        result = map_ring(queue->descriptor, XDP_PGOFF_TX_RING, &offsets.tx, transmit_entries,
                          sizeof(struct xdp_desc), &queue->transmit);
    return result;
}

/* Gives the kernel all chunks of the queue. */
static void fill(const struct xdp_sockets *sockets, struct xdp_queue *queue, uint32_t number)
{
    uint64_t first = (uint64_t)number * sockets->chunks_per_queue;
    for (uint32_t index = 0; index < sockets->chunks_per_queue; index++)
        *xdp_address_at(&queue->fill, index) = (first + index) * XDP_CHUNK_BYTES;
    xdp_store(queue->fill.producer, sockets->chunks_per_queue);
}

static int bind_queue(const struct xdp_sockets *sockets, int descriptor, uint32_t interface_index,
                      uint32_t number, uint16_t flags)
{
    struct sockaddr_xdp address = {
        .sxdp_family = AF_XDP,
        .sxdp_ifindex = interface_index,
        .sxdp_queue_id = number,
        .sxdp_flags = flags,
    };
    if (number > 0) {
        /* The kernel wants the same flags as the first, and none said. */
        address.sxdp_flags = XDP_SHARED_UMEM;
        address.sxdp_shared_umem_fd = (uint32_t)sockets->queues[0].descriptor;
    }
    return bind(descriptor, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
}

/* What may fail without harm: how much may be on its way at once, and how much one call sends. */
static void allow_bursts(const struct xdp_sockets *sockets, int descriptor, int send_buffer_bytes)
{
    if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer_bytes,
                   sizeof send_buffer_bytes) != 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &send_buffer_bytes,
                   sizeof send_buffer_bytes);
    uint32_t budget = power_of_two_from(sockets->transmit_chunks);
    set_option(descriptor, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof budget);
}

static int open_socket(struct xdp_sockets *sockets, struct xdp_queue *queue,
                       uint32_t interface_index, uint16_t bind_flags)
{
    uint32_t number = (uint32_t)sockets->queue_count;
    bool first = number == 0;
    int result = first ? register_memory(sockets, queue->descriptor) : 0;
    if (result == 0)
        result = make_rings(sockets, queue, first);
    if (result != 0)
        return result;
    fill(sockets, queue, number);
    result = bind_queue(sockets, queue->descriptor, interface_index, number, bind_flags);
    if (result != 0)
        return result;
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(sockets->epoll, EPOLL_CTL_ADD, queue->descriptor, &event) != 0)
        return -errno;
    return xdp_program_redirect(sockets, number, queue->descriptor);
}

int xdp_queue_open(struct xdp_sockets *sockets, uint32_t interface_index, uint16_t bind_flags,
                   int send_buffer_bytes)
{
    if (sockets->queue_count == XDP_QUEUES_MAXIMUM)
        return -E2BIG;
    struct xdp_queue *queue = &sockets->queues[sockets->queue_count];
    memset(queue, 0, sizeof *queue);
    queue->descriptor = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (queue->descriptor < 0)
        return -errno;
    int result = open_socket(sockets, queue, interface_index, bind_flags);
    if (result != 0) {
        xdp_queue_close(queue);
        return result;
    }
    if (sockets->queue_count == 0) {
        struct xdp_options options = {0};
        socklen_t length = sizeof options;
        sockets->zero_copy =
            getsockopt(queue->descriptor, SOL_XDP, XDP_OPTIONS, &options, &length) == 0 &&
            (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
        sockets->multi_buffer = (bind_flags & XDP_USE_SG) != 0;
        allow_bursts(sockets, queue->descriptor, send_buffer_bytes);
    }
    sockets->queue_count++;
    return 0;
}

void xdp_queue_close(struct xdp_queue *queue)
{
    /* A mapped ring would keep the socket open. */
    unmap_ring(&queue->fill);
    unmap_ring(&queue->completion);
    unmap_ring(&queue->receive);
    unmap_ring(&queue->transmit);
    close(queue->descriptor);
}
