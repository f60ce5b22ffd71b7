#include "shim.h"

#include <string.h>

void shim_export_function(napi_env env, napi_value exports, const char *name, napi_callback call)
{
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, call, NULL, &function);
    napi_set_named_property(env, exports, name, function);
}

void shim_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments)
{
    size_t given = count;
    napi_get_cb_info(env, info, &given, arguments, NULL, NULL);
}

int32_t shim_int32(napi_env env, napi_value value)
{
    int32_t number = 0;
    napi_get_value_int32(env, value, &number);
    return number;
}

int64_t shim_int64(napi_env env, napi_value value)
{
    int64_t number = 0;
    napi_get_value_int64(env, value, &number);
    return number;
}

napi_value shim_number(napi_env env, int64_t value)
{
    napi_value number;
    napi_create_int64(env, value, &number);
    return number;
}

uint8_t *shim_bytes(napi_env env, napi_value value, size_t *length_bytes)
{
    void *bytes = NULL;
    *length_bytes = 0;
    bool matches = false;

    /* The data path has typed arrays. */
    if (napi_is_typedarray(env, value, &matches) == napi_ok && matches) {
        static const size_t element_bytes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
        napi_typedarray_type type;
        size_t elements = 0;
        napi_get_typedarray_info(env, value, &type, &elements, &bytes, NULL, NULL);
        if ((size_t)type < sizeof element_bytes / sizeof element_bytes[0])
            *length_bytes = elements * element_bytes[type];
        return bytes;
    }
    if (napi_is_arraybuffer(env, value, &matches) == napi_ok && matches) {
        napi_get_arraybuffer_info(env, value, &bytes, length_bytes);
        return bytes;
    }
    return NULL;
}

napi_value shim_misuse(napi_env env, const char *message)
{
    napi_throw_error(env, "AOED_SHIM_MISUSE", message);
    return NULL;
}

NAPI_MODULE_INIT()
{
    shim_register_memory(env, exports);
    shim_register_disk(env, exports);
    shim_register_poll(env, exports);
    shim_register_packet(env, exports);
    shim_register_packet_ring(env, exports);
    shim_register_netlink(env, exports);
    shim_register_tap(env, exports);
    shim_register_hash(env, exports);
    shim_register_xdp(env, exports);
    shim_register_threads(env, exports);
    return exports;
}
