/*
 * Waking JavaScript when a descriptor is ready: a uv_poll_t on the loop of the environment that
 * opened it, so it works in worker threads too.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

struct descriptor_poll {
    uv_poll_t handle;
    napi_env env;
    napi_ref callback;
    napi_async_cleanup_hook_handle cleanup;
    int descriptor;
    bool closing;
    /* Freed when the loop has let go of the handle and JavaScript of the external value. */
    bool closed;
    bool collected;
};

static void on_closed(uv_handle_t *handle)
{
    struct descriptor_poll *poll = handle->data;
    poll->closed = true;
    napi_remove_async_cleanup_hook(poll->cleanup);
    if (poll->collected)
        free(poll);
}

static void close_poll(struct descriptor_poll *poll)
{
    if (poll->closing)
        return;
    poll->closing = true;
    napi_delete_reference(poll->env, poll->callback);
    uv_close((uv_handle_t *)&poll->handle, on_closed);
}

/*
 * The environment ends (a worker was terminated) while the poll is open: nobody is left to close
 * the descriptor either, and an open socket would go on to receive.
 */
static void on_environment_end(napi_async_cleanup_hook_handle cleanup, void *data)
{
    (void)cleanup;
    struct descriptor_poll *poll = data;
    if (poll->closing)
        return;
    close_poll(poll);
    close(poll->descriptor);
}

static void on_collected(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    struct descriptor_poll *poll = data;
    poll->collected = true;
    if (poll->closed)
        free(poll);
    else
        close_poll(poll);
}

static void on_events(uv_poll_t *handle, int status, int events)
{
    struct descriptor_poll *poll = handle->data;
    napi_env env = poll->env;
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok)
        return;

    napi_value callback, global;
    napi_value arguments[2] = {shim_number(env, status), shim_number(env, events)};
    napi_get_reference_value(env, poll->callback, &callback);
    napi_get_global(env, &global);
    if (napi_make_callback(env, NULL, global, callback, 2, arguments, NULL) ==
        napi_pending_exception) {
        napi_value exception;
        napi_get_and_clear_last_exception(env, &exception);
        napi_fatal_exception(env, exception);
    }
    napi_close_handle_scope(env, scope);
}

/*
 * pollOpen(descriptor, callback): an external value for pollSet and pollClose. The callback gets
 * the status (0, or a negative errno, after which polling has stopped) and the events.
 */
static napi_value poll_open(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    shim_arguments(env, info, 2, arguments);
    uv_loop_t *loop = NULL;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok)
        return shim_misuse(env, "pollOpen: this environment has no event loop");

    struct descriptor_poll *poll = calloc(1, sizeof *poll);
    if (poll == NULL)
        return shim_misuse(env, "pollOpen: out of memory");
    poll->env = env;
    poll->descriptor = shim_int32(env, arguments[0]);
    if (uv_poll_init(loop, &poll->handle, poll->descriptor) != 0) {
        free(poll);
        return shim_misuse(env, "pollOpen: the descriptor cannot be polled");
    }
    poll->handle.data = poll;
    napi_create_reference(env, arguments[1], 1, &poll->callback);
    napi_add_async_cleanup_hook(env, on_environment_end, poll, &poll->cleanup);

    napi_value external;
    napi_create_external(env, poll, on_collected, NULL, &external);
    return external;
}

static struct descriptor_poll *open_poll_of(napi_env env, napi_value value)
{
    void *poll = NULL;
    if (napi_get_value_external(env, value, &poll) != napi_ok)
        return NULL;
    return ((struct descriptor_poll *)poll)->closing ? NULL : poll;
}

/* pollSet(poll, events): waits for UV_READABLE (1), UV_WRITABLE (2), both, or none (0). */
static napi_value poll_set(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    shim_arguments(env, info, 2, arguments);
    struct descriptor_poll *poll = open_poll_of(env, arguments[0]);
    if (poll == NULL)
        return shim_misuse(env, "pollSet: this poll is closed");
    int events = shim_int32(env, arguments[1]);
    int result = events == 0 ? uv_poll_stop(&poll->handle)
                             : uv_poll_start(&poll->handle, events, on_events);
    return shim_number(env, result);
}

/* pollClose(poll): no callback comes after it; the descriptor may be closed at once. */
static napi_value poll_close(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    struct descriptor_poll *poll = open_poll_of(env, arguments[0]);
    if (poll != NULL)
        close_poll(poll);
    return NULL;
}

/*
 * closeDescriptor(descriptor): 0 or a negative errno. Node's own close is for descriptors that Node
 * has opened: a worker keeps a list of them.
 */
static napi_value close_descriptor(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    return shim_number(env, close(shim_int32(env, arguments[0])) == 0 ? 0 : -errno);
}

void shim_register_poll(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "pollOpen", poll_open);
    shim_export_function(env, exports, "pollSet", poll_set);
    shim_export_function(env, exports, "pollClose", poll_close);
    shim_export_function(env, exports, "closeDescriptor", close_descriptor);
}
