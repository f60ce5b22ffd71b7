/*
 * The receive ring of an AF_PACKET socket (PACKET_RX_RING, TPACKET_V2): the kernel writes each frame
 * to the next slot of memory that both see, so receiving takes no system call.
 *
 *   slot | tpacket2_hdr: status, lengths, time | … | frame |      status: the kernel's, or ours
 *
 * Slots have one size and are used in turn. A frame that finds its slot still ours is dropped.
 */
#define _GNU_SOURCE
#include "frames.h"
#include "packet.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

/* What the kernel allocates at once; a slot lies in one of these. */
enum { BLOCK_BYTES = 1 << 16 };

struct packet_ring {
    uint8_t *memory; /* NULL: closed */
    size_t memory_bytes;
    uint32_t slot_bytes;
    uint32_t slots_per_block;
    uint32_t slot_count;
    uint32_t next;
};

static void close_ring(struct packet_ring *ring)
{
    if (ring->memory != NULL)
        munmap(ring->memory, ring->memory_bytes);
    ring->memory = NULL;
}

static void on_collected(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    close_ring(data);
    free(data);
}

static int set_ring(int descriptor, uint32_t blocks, uint32_t slot_bytes)
{
    struct tpacket_req request = {0};
    if (blocks > 0)
        request = (struct tpacket_req){
            .tp_block_size = BLOCK_BYTES,
            .tp_block_nr = blocks,
            .tp_frame_size = slot_bytes,
            .tp_frame_nr = blocks * (BLOCK_BYTES / slot_bytes),
        };
    return setsockopt(descriptor, SOL_PACKET, PACKET_RX_RING, &request, sizeof request);
}

/*
 * Maps what the kernel has made. A child between fork and exec would keep the memory, and the kernel
 * takes back none that is mapped, so a child gets none of it.
 */
static int map_ring(int descriptor, struct packet_ring *ring)
{
    void *memory = mmap(NULL, ring->memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_POPULATE, descriptor, 0);
    if (memory == MAP_FAILED)
        return -errno;
    madvise(memory, ring->memory_bytes, MADV_DONTFORK);
    ring->memory = memory;
    return 0;
}

/* The ring of a socket that has none; 0 or a negative errno, with the socket as it was. */
static int open_ring(int descriptor, uint32_t slot_bytes, size_t bytes, struct packet_ring *ring)
{
    uint32_t blocks = bytes < BLOCK_BYTES ? 1 : (uint32_t)(bytes / BLOCK_BYTES);
    int version = TPACKET_V2;
    if (setsockopt(descriptor, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0 ||
        set_ring(descriptor, blocks, slot_bytes) != 0)
        return -errno;
    ring->slot_bytes = slot_bytes;
    ring->slots_per_block = BLOCK_BYTES / slot_bytes;
    ring->slot_count = blocks * ring->slots_per_block;
    ring->memory_bytes = (size_t)blocks * BLOCK_BYTES;
    int result = map_ring(descriptor, ring);
    if (result < 0)
        set_ring(descriptor, 0, slot_bytes);
    return result;
}

/*
 * packetRingOpen(descriptor, slotBytes, ringBytes): an external value for the other calls, or a
 * negative errno, and then the socket receives as before. What waits in the socket is lost.
 */
static napi_value packet_ring_open(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    shim_arguments(env, info, 3, arguments);
    int descriptor = shim_int32(env, arguments[0]);
    int32_t slot_bytes = shim_int32(env, arguments[1]);
    int32_t ring_bytes = shim_int32(env, arguments[2]);
    if (slot_bytes < (int32_t)TPACKET2_HDRLEN || slot_bytes > BLOCK_BYTES ||
        slot_bytes % TPACKET_ALIGNMENT != 0 || ring_bytes < 1)
        return shim_misuse(env, "packetRingOpen: a number is out of range");
    struct packet_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return shim_number(env, -ENOMEM);
    int result = open_ring(descriptor, (uint32_t)slot_bytes, (size_t)ring_bytes, ring);
    if (result < 0) {
        free(ring);
        return shim_number(env, result);
    }
    napi_value external;
    if (napi_create_external(env, ring, on_collected, NULL, &external) != napi_ok) {
        close_ring(ring);
        set_ring(descriptor, 0, (uint32_t)slot_bytes);
        free(ring);
        return shim_number(env, -ENOMEM);
    }
    return external;
}

static struct packet_ring *ring_of(napi_env env, napi_value value)
{
    void *ring = NULL;
    if (napi_get_value_external(env, value, &ring) != napi_ok ||
        ((struct packet_ring *)ring)->memory == NULL) {
        shim_misuse(env, "packetRing: this ring is closed");
        return NULL;
    }
    return ring;
}

/* A block may have room at its end that no slot fits into. */
static struct tpacket2_hdr *slot_at(const struct packet_ring *ring, uint32_t number)
{
    size_t block = number / ring->slots_per_block;
    size_t place = number % ring->slots_per_block;
    return (struct tpacket2_hdr *)(void *)(ring->memory + block * BLOCK_BYTES +
                                           place * ring->slot_bytes);
}

/* Copies a frame into the arena. Returns its length, or why it is of no use (see packetReceive). */
static int32_t take_frame(const struct tpacket2_hdr *slot, uint8_t *frame, int capacity_bytes,
                          int64_t oldest_arrival_ms)
{
    if (slot->tp_snaplen < slot->tp_len || slot->tp_len > (uint32_t)capacity_bytes)
        return PACKET_TRUNCATED;
    int64_t arrival_ms = (int64_t)slot->tp_sec * 1000 + slot->tp_nsec / 1000000;
    if (arrival_ms < oldest_arrival_ms)
        return PACKET_STALE;
    memcpy(frame, (const uint8_t *)slot + slot->tp_mac, slot->tp_len);
    return (int32_t)slot->tp_len;
}

/*
 * packetRingReceive(ring, arena, offsets, lengths, count, capacityBytes, oldestMs): as
 * packetReceive, but 0 when no frame waits, and never an error.
 */
static napi_value packet_ring_receive(napi_env env, napi_callback_info info)
{
    napi_value arguments[7];
    shim_arguments(env, info, 7, arguments);
    struct packet_ring *ring = ring_of(env, arguments[0]);
    if (ring == NULL)
        return NULL;
    struct frame_batch batch;
    if (!frame_batch_of(env, arguments + 1, 0, shim_int32(env, arguments[4]),
                        shim_int32(env, arguments[5]), &batch))
        return shim_misuse(env, "packetRingReceive: a frame lies outside the arena");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t oldest_arrival_ms =
        (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - shim_int32(env, arguments[6]);

    int received = 0;
    while (received < batch.count) {
        struct tpacket2_hdr *slot = slot_at(ring, ring->next);
        if ((__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0)
            break;
        batch.lengths[received] = take_frame(slot, frame_batch_at(&batch, received),
                                             batch.capacity_bytes, oldest_arrival_ms);
        received++;
        __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        if (++ring->next == ring->slot_count)
            ring->next = 0;
    }
    return shim_number(env, received);
}

/*
 * packetRingClose(ring, descriptor): 0, and the socket has no ring any more, and what is in it is
 * lost; or a negative errno, and the ring is as it was.
 */
static napi_value packet_ring_close(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    shim_arguments(env, info, 2, arguments);
    struct packet_ring *ring = ring_of(env, arguments[0]);
    if (ring == NULL)
        return NULL;
    int descriptor = shim_int32(env, arguments[1]);
    close_ring(ring);
    if (set_ring(descriptor, 0, ring->slot_bytes) == 0)
        return shim_number(env, 0);
    int error = errno;
    /* The kernel still has it, and fills it. */
    map_ring(descriptor, ring);
    return shim_number(env, -error);
}

void shim_register_packet_ring(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "packetRingOpen", packet_ring_open);
    shim_export_function(env, exports, "packetRingReceive", packet_ring_receive);
    shim_export_function(env, exports, "packetRingClose", packet_ring_close);
}
