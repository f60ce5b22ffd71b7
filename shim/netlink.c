/* Route netlink sockets: bytes in and out. What they say is read in TypeScript. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

/* netlinkOpen(groups): a descriptor that hears the multicast groups of the mask, or -errno. */
static napi_value netlink_open(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0)
        return shim_number(env, -errno);
    struct sockaddr_nl address = {
        .nl_family = AF_NETLINK,
        .nl_groups = (uint32_t)shim_int64(env, arguments[0]),
    };
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        close(descriptor);
        return shim_number(env, -error);
    }
    return shim_number(env, descriptor);
}

/* netlinkSend(descriptor, message): octets sent, or -errno. The kernel has then acted on it. */
static napi_value netlink_send(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    shim_arguments(env, info, 2, arguments);
    size_t length_bytes;
    uint8_t *message = shim_bytes(env, arguments[1], &length_bytes);
    if (message == NULL)
        return shim_misuse(env, "netlinkSend: the message is not bytes");
    ssize_t sent = send(shim_int32(env, arguments[0]), message, length_bytes, 0);
    return shim_number(env, sent < 0 ? -errno : sent);
}

/* netlinkReceive(descriptor, buffer): octets of one datagram of messages, or -errno. */
static napi_value netlink_receive(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    shim_arguments(env, info, 2, arguments);
    size_t capacity_bytes;
    uint8_t *buffer = shim_bytes(env, arguments[1], &capacity_bytes);
    if (buffer == NULL)
        return shim_misuse(env, "netlinkReceive: the buffer is not bytes");
    ssize_t received =
        recv(shim_int32(env, arguments[0]), buffer, capacity_bytes, MSG_DONTWAIT | MSG_TRUNC);
    if (received < 0)
        return shim_number(env, -errno);
    /* A datagram longer than the buffer has lost its end: the caller has to ask for all again. */
    return shim_number(env, (size_t)received > capacity_bytes ? -ENOBUFS : received);
}

void shim_register_netlink(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "netlinkOpen", netlink_open);
    shim_export_function(env, exports, "netlinkSend", netlink_send);
    shim_export_function(env, exports, "netlinkReceive", netlink_receive);
}
