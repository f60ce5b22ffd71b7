/*
 * AF_PACKET sockets: whole Ethernet frames between one interface and the frame arena, a batch a
 * call. Everything takes the descriptor; nothing is kept here between calls.
 */
#define _GNU_SOURCE
#include "frames.h"
#include "packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Added to the kernel's interface in Linux 4.20; older headers do not name it. */
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

/* The privileged option may go beyond net.core.rmem_max; without CAP_NET_ADMIN up to that. */
static void set_buffer(int descriptor, int forced_option, int option, int bytes)
{
    if (setsockopt(descriptor, SOL_SOCKET, forced_option, &bytes, sizeof bytes) != 0)
        setsockopt(descriptor, SOL_SOCKET, option, &bytes, sizeof bytes);
}

/*
 * packetOpen(receiveBufferBytes, sendBufferBytes): a descriptor that receives nothing yet, because
 * it is bound to no protocol.
 */
static napi_value packet_open(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    shim_arguments(env, info, 2, arguments);
    int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return shim_number(env, -errno);

    int on = 1;
    /* Both are optimizations: the filter drops outgoing frames too, and a queueing discipline
     * delays but does not harm. */
    setsockopt(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    setsockopt(descriptor, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    set_buffer(descriptor, SO_RCVBUFFORCE, SO_RCVBUF, shim_int32(env, arguments[0]));
    set_buffer(descriptor, SO_SNDBUFFORCE, SO_SNDBUF, shim_int32(env, arguments[1]));
    return shim_number(env, descriptor);
}

/*
 * packetTimestamp(descriptor): from now on the kernel notes when frames come, which packetReceive
 * needs to tell the old ones. A ring has the time of each frame anyway.
 */
static napi_value packet_timestamp(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    int on = 1;
    int result = setsockopt(shim_int32(env, arguments[0]), SOL_SOCKET, SO_TIMESTAMPNS, &on,
                            sizeof on);
    return shim_number(env, result == 0 ? 0 : -errno);
}

/* packetBind(descriptor, interfaceIndex, etherType): 0 or a negative errno. */
static napi_value packet_bind(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    shim_arguments(env, info, 3, arguments);
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_ifindex = shim_int32(env, arguments[1]),
        .sll_protocol = htons((uint16_t)shim_int32(env, arguments[2])),
    };
    int result = bind(shim_int32(env, arguments[0]), (struct sockaddr *)&address, sizeof address);
    return shim_number(env, result == 0 ? 0 : -errno);
}

/* packetFilter(descriptor, program): replaces the socket filter by the given struct sock_filter[]. */
static napi_value packet_filter(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    shim_arguments(env, info, 2, arguments);
    size_t length_bytes;
    uint8_t *program = shim_bytes(env, arguments[1], &length_bytes);
    size_t instructions = length_bytes / sizeof(struct sock_filter);
    if (program == NULL || instructions == 0 || instructions > BPF_MAXINSNS)
        return shim_misuse(env, "packetFilter: not a filter program");

    struct sock_fprog filter = {
        .len = (unsigned short)instructions,
        .filter = (struct sock_filter *)(void *)program,
    };
    int result = setsockopt(shim_int32(env, arguments[0]), SOL_SOCKET, SO_ATTACH_FILTER, &filter,
                            sizeof filter);
    return shim_number(env, result == 0 ? 0 : -errno);
}

static int64_t milliseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000 + time->tv_nsec / 1000000;
}

/* When the kernel received a frame, in milliseconds; nowMs when it did not say. */
static int64_t arrival_ms(struct msghdr *message, int64_t now_ms)
{
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    if (control == NULL || control->cmsg_level != SOL_SOCKET ||
        control->cmsg_type != SCM_TIMESTAMPNS)
        return now_ms;
    struct timespec arrival;
    memcpy(&arrival, CMSG_DATA(control), sizeof arrival);
    return milliseconds(&arrival);
}

/*
 * packetReceive(descriptor, arena, offsets, lengths, count, capacityBytes, oldestMs): fills the
 * frames at the first `count` offsets. lengths[i] is the frame's length, -1 when it was longer than
 * the capacity, or -2 when it had waited in the socket for more than oldestMs. Returns how many
 * frames came, or a negative errno (-EAGAIN: none).
 */
static napi_value packet_receive(napi_env env, napi_callback_info info)
{
    napi_value arguments[7];
    shim_arguments(env, info, 7, arguments);
    struct frame_batch batch;
    if (!frame_batch_of(env, arguments + 1, 0, shim_int32(env, arguments[4]),
                        shim_int32(env, arguments[5]), &batch))
        return shim_misuse(env, "packetReceive: a frame lies outside the arena");

    struct mmsghdr messages[FRAME_BATCH_MAXIMUM];
    struct iovec parts[FRAME_BATCH_MAXIMUM];
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(struct timespec))];
    } controls[FRAME_BATCH_MAXIMUM];
    memset(messages, 0, (size_t)batch.count * sizeof messages[0]);
    for (int index = 0; index < batch.count; index++) {
        parts[index].iov_base = frame_batch_at(&batch, index);
        parts[index].iov_len = (size_t)batch.capacity_bytes;
        messages[index].msg_hdr.msg_iov = &parts[index];
        messages[index].msg_hdr.msg_iovlen = 1;
        messages[index].msg_hdr.msg_control = &controls[index];
        messages[index].msg_hdr.msg_controllen = sizeof controls[index];
    }
    int received = recvmmsg(shim_int32(env, arguments[0]), messages, (unsigned int)batch.count,
                            MSG_DONTWAIT, NULL);
    if (received < 0)
        return shim_number(env, -errno);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_ms = milliseconds(&now);
    int64_t oldest_ms = shim_int32(env, arguments[6]);
    for (int index = 0; index < received; index++) {
        struct msghdr *message = &messages[index].msg_hdr;
        batch.lengths[index] = (int32_t)messages[index].msg_len;
        if ((message->msg_flags & MSG_TRUNC) != 0)
            batch.lengths[index] = PACKET_TRUNCATED;
        else if (now_ms - arrival_ms(message, now_ms) > oldest_ms)
            batch.lengths[index] = PACKET_STALE;
    }
    return shim_number(env, received);
}

/*
 * packetSend(descriptor, arena, offsets, lengths, first, count): sends the frames with the indexes
 * first … first + count - 1, in order. Returns how many the kernel took, or the negative errno that
 * the first of them met.
 */
static napi_value packet_send(napi_env env, napi_callback_info info)
{
    napi_value arguments[6];
    shim_arguments(env, info, 6, arguments);
    struct frame_batch batch;
    if (!frame_batch_of(env, arguments + 1, shim_int32(env, arguments[4]),
                        shim_int32(env, arguments[5]), 0, &batch))
        return shim_misuse(env, "packetSend: a frame lies outside the arena");

    struct mmsghdr messages[FRAME_BATCH_MAXIMUM];
    struct iovec parts[FRAME_BATCH_MAXIMUM];
    memset(messages, 0, (size_t)batch.count * sizeof messages[0]);
    for (int index = 0; index < batch.count; index++) {
        parts[index].iov_base = frame_batch_at(&batch, index);
        parts[index].iov_len = (size_t)batch.lengths[index];
        messages[index].msg_hdr.msg_iov = &parts[index];
        messages[index].msg_hdr.msg_iovlen = 1;
    }
    int sent = sendmmsg(shim_int32(env, arguments[0]), messages, (unsigned int)batch.count,
                        MSG_DONTWAIT);
    return shim_number(env, sent < 0 ? -errno : sent);
}

/* packetDrops(descriptor): frames dropped for want of buffer since the last call. */
static napi_value packet_drops(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    struct tpacket_stats statistics = {0};
    socklen_t length = sizeof statistics;
    int result = getsockopt(shim_int32(env, arguments[0]), SOL_PACKET, PACKET_STATISTICS,
                            &statistics, &length);
    return shim_number(env, result == 0 ? (int64_t)statistics.tp_drops : -errno);
}

/* socketError(descriptor): takes and clears the pending error; 0 or a negative errno. */
static napi_value socket_error(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    int error = 0;
    socklen_t length = sizeof error;
    int result =
        getsockopt(shim_int32(env, arguments[0]), SOL_SOCKET, SO_ERROR, &error, &length);
    return shim_number(env, result == 0 ? -error : -errno);
}

void shim_register_packet(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "packetOpen", packet_open);
    shim_export_function(env, exports, "packetTimestamp", packet_timestamp);
    shim_export_function(env, exports, "packetBind", packet_bind);
    shim_export_function(env, exports, "packetFilter", packet_filter);
    shim_export_function(env, exports, "packetReceive", packet_receive);
    shim_export_function(env, exports, "packetSend", packet_send);
    shim_export_function(env, exports, "packetDrops", packet_drops);
    shim_export_function(env, exports, "socketError", socket_error);
}
