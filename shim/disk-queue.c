/*
 * The queue of one disk: its io_uring (disk-ring.h), its worker threads, and the way back to
 * JavaScript. Threads are started when jobs wait that the ring does not take, and end when they have
 * been idle for a while; one always stays. Every disk has its own, so that a disk that hangs takes
 * no thread from another.
 */
#define _GNU_SOURCE
#include "disk-ring.h"
#include "disk.h"
#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#define IDLE_SECONDS 5
#define THREAD_STACK_BYTES (256 * 1024)

struct disk_queue {
    struct disk_table table;
    int32_t *completions; /* where the heads of finished jobs are left for JavaScript */
    int32_t completion_count;

    napi_env env;
    struct shim_mapping *table_mapping, *memory_mapping; /* held while threads may use them */
    napi_ref completions_reference;
    napi_ref on_completion;
    napi_async_cleanup_hook_handle cleanup;
    uv_async_t wake;
    struct disk_ring *ring; /* NULL: threads do everything */
    uv_poll_t ring_poll;
    int32_t outstanding; /* jobs JavaScript has not got back; only the loop's thread touches it */
    bool closed;
    int holders; /* the handle of JavaScript, `wake` and `ring_poll`: who lets go last frees */

    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t work;
    pthread_cond_t ended;
    int32_t first, last;           /* jobs that wait */
    int waiting;                   /* how many those are */
    int32_t first_done, last_done; /* jobs that are done */
    int threads, idle, thread_limit;
    bool stopping;
};

static void append_job(struct disk_queue *queue, int32_t *first, int32_t *last, int32_t head)
{
    queue->table.slots[head].queue_next = -1;
    if (*first < 0)
        *first = head;
    else
        queue->table.slots[*last].queue_next = head;
    *last = head;
}

/* Waits for a job; -1 when this thread is to end. Called and returns with the mutex held. */
static int32_t take_job(struct disk_queue *queue)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    while (queue->first < 0 && !queue->stopping) {
        queue->idle++;
        int result = pthread_cond_timedwait(&queue->work, &queue->mutex, &until);
        queue->idle--;
        if (result == ETIMEDOUT && queue->first < 0) {
            if (queue->threads > 1)
                return -1;
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += IDLE_SECONDS;
        }
    }
    int32_t head = queue->first;
    if (head >= 0) {
        queue->first = queue->table.slots[head].queue_next;
        queue->waiting--;
    }
    return head;
}

static void *work(void *argument)
{
    struct disk_queue *queue = argument;
    pthread_mutex_lock(&queue->mutex);
    int32_t head;
    while ((head = take_job(queue)) >= 0) {
        pthread_mutex_unlock(&queue->mutex);
        disk_run_chain(&queue->table, head);
        pthread_mutex_lock(&queue->mutex);
        bool wake = queue->first_done < 0;
        append_job(queue, &queue->first_done, &queue->last_done, head);
        if (wake)
            uv_async_send(&queue->wake);
    }
    queue->threads--;
    pthread_cond_signal(&queue->ended);
    pthread_mutex_unlock(&queue->mutex);
    return NULL;
}

/* Called with the mutex held. Signals stay with the threads of the runtime. */
static int start_thread(struct disk_queue *queue)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SHIM_THREADS_SIGNAL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, work, queue);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        queue->threads++;
    return error;
}

/* Ends the threads after the jobs they are at; jobs that no thread has taken are dropped. */
static void stop_threads(struct disk_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->stopping = true;
    queue->first = -1;
    pthread_cond_broadcast(&queue->work);
    while (queue->threads > 0)
        pthread_cond_wait(&queue->ended, &queue->mutex);
    pthread_mutex_unlock(&queue->mutex);
}

static void let_go(struct disk_queue *queue)
{
    if (--queue->holders > 0)
        return;
    pthread_mutex_destroy(&queue->mutex);
    pthread_cond_destroy(&queue->work);
    pthread_cond_destroy(&queue->ended);
    free(queue);
}

static void handle_collected(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    let_go(data);
}

static void wake_closed(uv_handle_t *handle)
{
    struct disk_queue *queue = handle->data;
    napi_remove_async_cleanup_hook(queue->cleanup);
    let_go(queue);
}

static void ring_poll_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

static void close_ring(struct disk_queue *queue)
{
    if (queue->ring == NULL)
        return;
    uv_close((uv_handle_t *)&queue->ring_poll, ring_poll_closed);
    disk_ring_close(queue->ring);
    queue->ring = NULL;
}

static void close_queue(struct disk_queue *queue)
{
    if (queue->closed)
        return;
    queue->closed = true;
    close_ring(queue);
    stop_threads(queue);
    shim_release_mapping(queue->table_mapping);
    shim_release_mapping(queue->memory_mapping);
    uv_close((uv_handle_t *)&queue->wake, wake_closed);
}

static void environment_ends(napi_async_cleanup_hook_handle handle, void *argument)
{
    (void)handle;
    close_queue(argument);
}

static int32_t take_completions(struct disk_queue *queue)
{
    int32_t count = 0;
    pthread_mutex_lock(&queue->mutex);
    while (queue->first_done >= 0 && count < queue->completion_count) {
        queue->completions[count++] = queue->first_done;
        queue->first_done = queue->table.slots[queue->first_done].queue_next;
    }
    if (queue->first_done >= 0)
        uv_async_send(&queue->wake);
    pthread_mutex_unlock(&queue->mutex);
    return count;
}

/* Tells JavaScript of the jobs whose heads are in `completions`. */
static void deliver(struct disk_queue *queue, int32_t count)
{
    if (count == 0 || queue->closed)
        return;
    queue->outstanding -= count;
    if (queue->outstanding == 0)
        uv_unref((uv_handle_t *)&queue->wake);

    napi_env env = queue->env;
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    napi_value function, receiver, argument;
    napi_get_reference_value(env, queue->on_completion, &function);
    napi_get_global(env, &receiver);
    napi_create_int32(env, count, &argument);
    napi_status status = napi_make_callback(env, NULL, receiver, function, 1, &argument, NULL);
    if (status == napi_pending_exception) {
        napi_value exception;
        napi_get_and_clear_last_exception(env, &exception);
        napi_fatal_exception(env, exception);
    }
    napi_close_handle_scope(env, scope);
}

static void threads_have_done(uv_async_t *wake)
{
    struct disk_queue *queue = wake->data;
    deliver(queue, take_completions(queue));
}

/* Called with the mutex held. */
static void give_to_threads(struct disk_queue *queue, int32_t head)
{
    append_job(queue, &queue->first, &queue->last, head);
    queue->waiting++;
    /* Idle threads may have been called for earlier jobs. When no further thread can be had, those
     * that run take the job later. */
    if (queue->waiting > queue->idle && queue->threads < queue->thread_limit)
        start_thread(queue);
    else
        pthread_cond_signal(&queue->work);
}

static void ring_has_done(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct disk_queue *queue = poll->data;
    if (status < 0)
        return;
    disk_ring_gather(queue->ring);
    int32_t count = 0, head;
    bool done;
    pthread_mutex_lock(&queue->mutex);
    while (count < queue->completion_count && (head = disk_ring_take(queue->ring, &done)) >= 0) {
        if (done)
            queue->completions[count++] = head;
        else
            give_to_threads(queue, head);
    }
    pthread_mutex_unlock(&queue->mutex);
    deliver(queue, count);
}

/* The ring is an optimization: without it threads do the same. */
static void open_ring(struct disk_queue *queue, uv_loop_t *loop)
{
    queue->ring = disk_ring_open(&queue->table);
    if (queue->ring == NULL)
        return;
    queue->ring_poll.data = queue;
    if (uv_poll_init(loop, &queue->ring_poll, disk_ring_descriptor(queue->ring)) != 0) {
        disk_ring_close(queue->ring);
        queue->ring = NULL;
        return;
    }
    uv_poll_start(&queue->ring_poll, UV_READABLE, ring_has_done);
    uv_unref((uv_handle_t *)&queue->ring_poll);
    queue->holders++;
}

static void initialize_threads(struct disk_queue *queue, int thread_limit)
{
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->work, &monotonic);
    pthread_cond_init(&queue->ended, NULL);
    pthread_condattr_destroy(&monotonic);
    queue->first = queue->last = queue->first_done = queue->last_done = -1;
    queue->thread_limit = thread_limit > 0 ? thread_limit : 1;
}

/*
 * diskOpen(table: ArrayBuffer, memory: ArrayBuffer, completions: Int32Array, threadLimit, useRing,
 * onCompletion: (count) => void): DiskHandle. The heads of `count` finished jobs are in
 * `completions` when onCompletion is called.
 */
static napi_value disk_open(napi_env env, napi_callback_info info)
{
    napi_value arguments[6];
    shim_arguments(env, info, 6, arguments);
    size_t table_bytes, memory_bytes, completion_bytes;
    uint8_t *slots = shim_bytes(env, arguments[0], &table_bytes);
    uint8_t *memory = shim_bytes(env, arguments[1], &memory_bytes);
    uint8_t *completions = shim_bytes(env, arguments[2], &completion_bytes);
    if (completions == NULL || completion_bytes < sizeof(int32_t))
        return shim_misuse(env, "diskOpen: completions must be an Int32Array");
    struct shim_mapping *table_mapping = shim_hold_mapping(slots);
    struct shim_mapping *memory_mapping = shim_hold_mapping(memory);
    struct disk_queue *queue = calloc(1, sizeof *queue);
    if (table_mapping == NULL || memory_mapping == NULL || queue == NULL) {
        if (table_mapping != NULL)
            shim_release_mapping(table_mapping);
        if (memory_mapping != NULL)
            shim_release_mapping(memory_mapping);
        free(queue);
        return shim_misuse(env, "diskOpen: table and memory must come from mapMemory");
    }
    queue->env = env;
    queue->table_mapping = table_mapping;
    queue->memory_mapping = memory_mapping;
    queue->table = (struct disk_table){(struct disk_slot *)(void *)slots,
                                       (int32_t)(table_bytes / sizeof(struct disk_slot)), memory,
                                       memory_bytes};
    queue->completions = (int32_t *)(void *)completions;
    queue->completion_count = (int32_t)(completion_bytes / sizeof(int32_t));
    initialize_threads(queue, shim_int32(env, arguments[3]));

    uv_loop_t *loop = NULL;
    napi_get_uv_event_loop(env, &loop);
    queue->holders = 1;
    if (start_thread(queue) != 0 || uv_async_init(loop, &queue->wake, threads_have_done) != 0) {
        stop_threads(queue);
        shim_release_mapping(table_mapping);
        shim_release_mapping(memory_mapping);
        let_go(queue);
        return shim_misuse(env, "diskOpen: a thread or an event descriptor cannot be had");
    }
    queue->wake.data = queue;
    queue->holders = 2;
    uv_unref((uv_handle_t *)&queue->wake);
    napi_add_async_cleanup_hook(env, environment_ends, queue, &queue->cleanup);
    napi_create_reference(env, arguments[2], 1, &queue->completions_reference);
    napi_create_reference(env, arguments[5], 1, &queue->on_completion);
    if (shim_int32(env, arguments[4]) != 0)
        open_ring(queue, loop);

    /* A write beyond RLIMIT_FSIZE is a fault of that write, not the end of the process. */
    struct sigaction action;
    if (sigaction(SIGXFSZ, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
        signal(SIGXFSZ, SIG_IGN);

    napi_value handle;
    napi_create_external(env, queue, handle_collected, NULL, &handle);
    return handle;
}

static struct disk_queue *open_queue(napi_env env, napi_value handle)
{
    void *queue = NULL;
    if (napi_get_value_external(env, handle, &queue) != napi_ok || queue == NULL ||
        ((struct disk_queue *)queue)->closed)
        return NULL;
    return queue;
}

/* diskRunNow(handle, head): how many requests of the chain are done (see disk_run_now). */
static napi_value disk_run_now_call(napi_env env, napi_callback_info info)
{
    napi_value arguments[2];
    shim_arguments(env, info, 2, arguments);
    struct disk_queue *queue = open_queue(env, arguments[0]);
    int32_t head = shim_int32(env, arguments[1]);
    if (queue == NULL || head < 0 || head >= queue->table.slot_count)
        return shim_misuse(env, "diskRunNow: a closed disk or no such slot");
    return shim_number(env, disk_run_now(&queue->table, head));
}

static void enter_ring(struct disk_queue *queue)
{
    disk_ring_enter(queue->ring);
    int32_t head;
    pthread_mutex_lock(&queue->mutex);
    while ((head = disk_ring_take_refused(queue->ring)) >= 0)
        give_to_threads(queue, head);
    pthread_mutex_unlock(&queue->mutex);
}

/* diskSubmit(handle, heads: Int32Array, count): each head is a job for the ring or one thread. */
static napi_value disk_submit(napi_env env, napi_callback_info info)
{
    napi_value arguments[3];
    shim_arguments(env, info, 3, arguments);
    struct disk_queue *queue = open_queue(env, arguments[0]);
    size_t heads_bytes;
    int32_t *heads = (int32_t *)(void *)shim_bytes(env, arguments[1], &heads_bytes);
    int32_t count = shim_int32(env, arguments[2]);
    if (queue == NULL || count < 0 || (size_t)count > heads_bytes / sizeof(int32_t))
        return shim_misuse(env, "diskSubmit: a closed disk or too few heads");
    for (int32_t index = 0; index < count; index++) {
        if (heads[index] < 0 || heads[index] >= queue->table.slot_count)
            return shim_misuse(env, "diskSubmit: no such slot");
    }
    if (count == 0)
        return shim_number(env, 0);

    if (queue->outstanding == 0)
        uv_ref((uv_handle_t *)&queue->wake);
    queue->outstanding += count;
    pthread_mutex_lock(&queue->mutex);
    for (int32_t index = 0; index < count; index++) {
        if (queue->ring == NULL || !disk_ring_add(queue->ring, heads[index]))
            give_to_threads(queue, heads[index]);
    }
    pthread_mutex_unlock(&queue->mutex);
    if (queue->ring != NULL)
        enter_ring(queue);
    return shim_number(env, count);
}

/* diskUsesRing(handle): whether the disk has an io_uring. */
static napi_value disk_uses_ring(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    struct disk_queue *queue = open_queue(env, arguments[0]);
    return shim_number(env, queue != NULL && queue->ring != NULL);
}

/* diskClose(handle): ends the threads. No job may be outstanding. */
static napi_value disk_close(napi_env env, napi_callback_info info)
{
    napi_value arguments[1];
    shim_arguments(env, info, 1, arguments);
    struct disk_queue *queue = open_queue(env, arguments[0]);
    if (queue == NULL || queue->outstanding > 0)
        return shim_misuse(env, "diskClose: closed before, or jobs are outstanding");
    napi_delete_reference(env, queue->completions_reference);
    napi_delete_reference(env, queue->on_completion);
    close_queue(queue);
    return NULL;
}

void shim_register_disk(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "diskOpen", disk_open);
    shim_export_function(env, exports, "diskRunNow", disk_run_now_call);
    shim_export_function(env, exports, "diskSubmit", disk_submit);
    shim_export_function(env, exports, "diskUsesRing", disk_uses_ring);
    shim_export_function(env, exports, "diskClose", disk_close);
}
