#define _GNU_SOURCE
#include "reply-ring.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { FEWEST_SLOTS = 512, BLOCK_BYTES = 1 << 16 };

static void keep_only(int descriptor, unsigned kept_bytes)
{
    struct sock_filter instruction = BPF_STMT(BPF_RET | BPF_K, kept_bytes);
    struct sock_fprog program = {.len = 1, .filter = &instruction};
    if (setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
        refuse("SO_ATTACH_FILTER: %s", strerror(errno));
}

static unsigned next_power_of_two(unsigned value, unsigned lowest)
{
    unsigned power = lowest;
    while (power < value)
        power *= 2;
    return power;
}

struct reply_ring reply_ring_open(const struct packet_socket *socket, unsigned kept_bytes,
                                  unsigned frames_under_way)
{
    /* Twice what can be under way, for late duplicates; not more, so that it stays in the cache. */
    unsigned slot_count = next_power_of_two(2 * frames_under_way, FEWEST_SLOTS);
    unsigned slot_bytes = next_power_of_two(kept_bytes + TPACKET2_HDRLEN + 64, 256);
    unsigned block_bytes = slot_bytes > BLOCK_BYTES ? slot_bytes : BLOCK_BYTES;
    struct reply_ring ring = {
        .slot_bytes = slot_bytes, .slot_count = slot_count, .descriptor = socket->descriptor};

    keep_only(socket->descriptor, kept_bytes);
    int version = TPACKET_V2;
    struct tpacket_req request = {
        .tp_block_size = block_bytes,
        .tp_block_nr = (unsigned)((uint64_t)slot_bytes * slot_count / block_bytes),
        .tp_frame_size = slot_bytes,
        .tp_frame_nr = slot_count,
    };
    if (setsockopt(socket->descriptor, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0 ||
        setsockopt(socket->descriptor, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) < 0)
        refuse("PACKET_RX_RING: %s", strerror(errno));
    ring.memory = mmap(NULL, (size_t)slot_bytes * slot_count, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_POPULATE, socket->descriptor, 0);
    if (ring.memory == MAP_FAILED)
        refuse("mapping the receive ring: %s", strerror(errno));
    return ring;
}

static struct tpacket2_hdr *slot_header(const struct reply_ring *ring)
{
    return (struct tpacket2_hdr *)(ring->memory + (size_t)ring->next_slot * ring->slot_bytes);
}

const uint8_t *reply_ring_peek(const struct reply_ring *ring, size_t *frame_bytes)
{
    struct tpacket2_hdr *header = slot_header(ring);
    if (!(__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
        return NULL;
    *frame_bytes = header->tp_len;
    return (const uint8_t *)header + header->tp_mac;
}

void reply_ring_release(struct reply_ring *ring)
{
    __atomic_store_n(&slot_header(ring)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    if (++ring->next_slot == ring->slot_count)
        ring->next_slot = 0;
}

void reply_ring_sleep(const struct reply_ring *ring, int timeout_ms)
{
    struct pollfd wanted = {.fd = ring->descriptor, .events = POLLIN};
    if (poll(&wanted, 1, timeout_ms) < 0 && errno != EINTR)
        refuse("poll: %s", strerror(errno));
}
