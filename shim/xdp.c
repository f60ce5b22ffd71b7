/* AF_XDP sockets as JavaScript sees them: opened in steps, each of which can fail for its reason. */
#define _GNU_SOURCE
#include "xdp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static void close_descriptor(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

/* Closes all but the descriptor to be polled, which is the caller's. May be called again. */
static void close_all(struct xdp_sockets *sockets)
{
    /* The link first: from now on the interface is as if there had been no program. */
    close_descriptor(&sockets->link);
    while (sockets->queue_count > 0)
        xdp_queue_close(&sockets->queues[--sockets->queue_count]);
    close_descriptor(&sockets->program);
    close_descriptor(&sockets->map);
    if (sockets->memory != NULL)
        munmap(sockets->memory, sockets->memory_bytes);
    sockets->memory = NULL;
    free(sockets->free_chunks);
    sockets->free_chunks = NULL;
}

static void on_collected(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    close_all(data);
    free(data);
}

struct xdp_sockets *xdp_sockets_of(napi_env env, napi_value value)
{
    void *sockets = NULL;
    if (napi_get_value_external(env, value, &sockets) != napi_ok ||
        ((struct xdp_sockets *)sockets)->memory == NULL) {
        shim_misuse(env, "xdp: these sockets are closed");
        return NULL;
    }
    return sockets;
}

static bool make_memory(struct xdp_sockets *sockets, uint32_t queues)
{
    uint32_t received = queues * sockets->chunks_per_queue;
    sockets->memory_bytes = (size_t)(received + sockets->transmit_chunks) * XDP_CHUNK_BYTES;
    void *memory = mmap(NULL, sockets->memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    sockets->memory = memory;
    sockets->free_chunks = malloc(sockets->transmit_chunks * sizeof sockets->free_chunks[0]);
    if (sockets->free_chunks == NULL)
        return false;
    for (uint32_t index = 0; index < sockets->transmit_chunks; index++)
        sockets->free_chunks[sockets->free_count++] = received + index;
    return true;
}

/*
 * xdpOpen(queues, chunksPerQueue, transmitChunks): an external value for the other calls, with
 * memory for this many queues and for sending, and nothing else yet.
 */
static napi_value xdp_open(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    shim_arguments(env, info, 3, arguments);
    int32_t queues = shim_int32(env, arguments[0]);
    int32_t chunks_per_queue = shim_int32(env, arguments[1]);
    int32_t transmit_chunks = shim_int32(env, arguments[2]);
    if (queues < 1 || queues > XDP_QUEUES_MAXIMUM || chunks_per_queue < 1 || transmit_chunks < 1 ||
        chunks_per_queue > 1 << 20 || transmit_chunks > 1 << 20)
        return shim_misuse(env, "xdpOpen: a number is out of range");

    struct xdp_sockets *sockets = calloc(1, sizeof *sockets);
    if (sockets == NULL)
        return shim_misuse(env, "xdpOpen: out of memory");
    sockets->map = sockets->program = sockets->link = -1;
    sockets->chunks_per_queue = (uint32_t)chunks_per_queue;
    sockets->transmit_chunks = (uint32_t)transmit_chunks;
    sockets->epoll = epoll_create1(EPOLL_CLOEXEC);
    napi_value external;
    if (sockets->epoll < 0 || !make_memory(sockets, (uint32_t)queues) ||
        napi_create_external(env, sockets, on_collected, NULL, &external) != napi_ok) {
        close_descriptor(&sockets->epoll);
        close_all(sockets);
        free(sockets);
        return shim_misuse(env, "xdpOpen: out of memory");
    }
    return external;
}

/* xdpLoad(sockets, queues, etherType, multiBuffer): loads the program; 0 or a negative errno. */
static napi_value xdp_load_program(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    shim_arguments(env, info, 4, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    if (sockets == NULL)
        return NULL;
    close_descriptor(&sockets->program);
    close_descriptor(&sockets->map);
    return shim_number(env, xdp_program_load(sockets, (uint32_t)shim_int32(env, arguments[1]),
                                             (uint16_t)shim_int32(env, arguments[2]),
                                             shim_int32(env, arguments[3]) != 0));
}

/* xdpAttach(sockets, interfaceIndex, native): puts the program in place; 0 or a negative errno. */
static napi_value xdp_attach(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    shim_arguments(env, info, 3, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    if (sockets == NULL)
        return NULL;
    return shim_number(env,
                       xdp_program_attach(sockets, (uint32_t)shim_int32(env, arguments[1]),
                                          shim_int32(env, arguments[2]) != 0));
}

/*
 * xdpBind(sockets, interfaceIndex, flags, sendBufferBytes): the socket of the next queue, which
 * frames come to from now on; 0 or a negative errno. The flags (of linux/if_xdp.h) of the first
 * queue count for all.
 */
static napi_value xdp_bind(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    shim_arguments(env, info, 4, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    if (sockets == NULL)
        return NULL;
    return shim_number(env, xdp_queue_open(sockets, (uint32_t)shim_int32(env, arguments[1]),
                                           (uint16_t)shim_int32(env, arguments[2]),
                                           shim_int32(env, arguments[3])));
}

/*
 * xdpDescriptor(sockets): becomes readable when frames have come to any queue. The caller closes
 * it.
 */
static napi_value xdp_descriptor(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    return sockets == NULL ? NULL : shim_number(env, sockets->epoll);
}

/* xdpIsZeroCopy(sockets): 1 when the driver reads and writes the memory itself. */
static napi_value xdp_is_zero_copy(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    return sockets == NULL ? NULL : shim_number(env, sockets->zero_copy ? 1 : 0);
}

/* xdpStopReceiving(sockets): from now on the kernel gets all frames; sending goes on. */
static napi_value xdp_stop_receiving(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    if (sockets == NULL)
        return NULL;
    for (int number = 0; number < sockets->queue_count; number++)
        xdp_program_pass(sockets, (uint32_t)number);
    return NULL;
}

/*
 * xdpDrops(sockets, counts): counts[0] becomes how many received frames the kernel has dropped for
 * want of chunks, counts[1] how many frames to be sent the interface has dropped; both since the
 * sockets were opened.
 */
static napi_value xdp_drops(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    shim_arguments(env, info, 2, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    if (sockets == NULL)
        return NULL;
    size_t counts_bytes;
    double *counts = (double *)(void *)shim_bytes(env, arguments[1], &counts_bytes);
    if (counts_bytes < 2 * sizeof counts[0])
        return shim_misuse(env, "xdpDrops: needs two counters");
    counts[0] = 0;
    counts[1] = (double)sockets->send_drops;
    for (int number = 0; number < sockets->queue_count; number++) {
        struct xdp_statistics statistics = {0};
        socklen_t length = sizeof statistics;
        if (getsockopt(sockets->queues[number].descriptor, SOL_XDP, XDP_STATISTICS, &statistics,
                       &length) == 0)
            counts[0] += (double)(statistics.rx_dropped + statistics.rx_ring_full);
    }
    return NULL;
}

/* xdpClose(sockets): takes the program off the interface and closes the sockets. */
static napi_value xdp_close(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    struct xdp_sockets *sockets = xdp_sockets_of(env, arguments[0]);
    if (sockets != NULL)
        close_all(sockets);
    return NULL;
}

void shim_register_xdp(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "xdpOpen", xdp_open);
    shim_export_function(env, exports, "xdpLoad", xdp_load_program);
    shim_export_function(env, exports, "xdpAttach", xdp_attach);
    shim_export_function(env, exports, "xdpBind", xdp_bind);
    shim_export_function(env, exports, "xdpDescriptor", xdp_descriptor);
    shim_export_function(env, exports, "xdpIsZeroCopy", xdp_is_zero_copy);
    shim_export_function(env, exports, "xdpStopReceiving", xdp_stop_receiving);
    shim_export_function(env, exports, "xdpDrops", xdp_drops);
    shim_export_function(env, exports, "xdpClose", xdp_close);
    shim_register_xdp_program(env, exports);
    shim_register_xdp_frames(env, exports);
}
