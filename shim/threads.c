/*
 * What the kernel keeps for each thread, and libc does not change for all of them: capabilities and
 * no_new_privs. Every thread of the process runs a signal handler that gives them up in that thread
 * (libc does the same behind setuid).
 */
#define _GNU_SOURCE
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 5000, ROUNDS = 8, THREADS_MAXIMUM = 4096 };

/* The threads that have been told, and whether each has done it. */
static struct told_thread {
    atomic_int thread;
    atomic_bool done;
} told[THREADS_MAXIMUM];
static atomic_int told_count;
/* The errno that one of them met. */
static atomic_int thread_error;

static int give_up_in_this_thread(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof none);
    if (syscall(SYS_capset, &header, none) != 0)
        return errno;
    /* Ambient capabilities go with the permitted ones. */
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno;
}

static struct told_thread *find_told(pid_t thread)
{
    int count = atomic_load(&told_count);
    for (int index = 0; index < count; index++)
        if (atomic_load(&told[index].thread) == thread)
            return &told[index];
    return NULL;
}

static void on_signal(int signal)
{
    (void)signal;
    int saved = errno;
    struct told_thread *self = find_told((pid_t)syscall(SYS_gettid));
    int error = give_up_in_this_thread();
    if (error != 0)
        atomic_store(&thread_error, error);
    if (self != NULL)
        atomic_store(&self->done, true);
    errno = saved;
}

/* Tells every thread that has not been told yet; returns how many that were, or a negative errno. */
static int tell_threads(int signal)
{
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL)
        return -errno;
    pid_t self = (pid_t)syscall(SYS_gettid);
    int first = atomic_load(&told_count);
    struct dirent *entry;
    while ((entry = readdir(threads)) != NULL) {
        pid_t thread = (pid_t)atoi(entry->d_name);
        int count = atomic_load(&told_count);
        if (thread <= 0 || thread == self || find_told(thread) != NULL)
            continue;
        if (count == THREADS_MAXIMUM) {
            closedir(threads);
            return -E2BIG;
        }
        atomic_store(&told[count].thread, thread);
        atomic_store(&told[count].done, false);
        atomic_store(&told_count, count + 1);
        syscall(SYS_tgkill, getpid(), thread, signal);
    }
    closedir(threads);
    return atomic_load(&told_count) - first;
}

/* A thread that has ended meanwhile is done as well. */
static bool all_done(void)
{
    int count = atomic_load(&told_count);
    for (int index = 0; index < count; index++)
        if (!atomic_load(&told[index].done) &&
            syscall(SYS_tgkill, getpid(), atomic_load(&told[index].thread), 0) == 0)
            return false;
    return true;
}

static int wait_for_threads(void)
{
    for (int waited_ms = 0; waited_ms < WAIT_MS; waited_ms++) {
        if (all_done())
            return atomic_load(&thread_error);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return ETIMEDOUT;
}

/* Until a round finds no new thread: one that was not told may have made another meanwhile. */
static int give_up_in_other_threads(int signal)
{
    atomic_store(&told_count, 0);
    atomic_store(&thread_error, 0);
    for (int round = 0; round < ROUNDS; round++) {
        int found = tell_threads(signal);
        if (found <= 0)
            return -found;
        int error = wait_for_threads();
        if (error != 0)
            return error;
    }
    return EAGAIN;
}

/*
 * dropCapabilities(): every thread loses all capabilities, and the process can gain none by running
 * another program. 0 or a negative errno; -ETIMEDOUT when a thread blocks signals.
 */
static napi_value drop_capabilities(napi_env env, napi_callback_info info)
{
    (void)info;
    int error = give_up_in_this_thread();
    if (error != 0)
        return shim_number(env, -error);

    int signal = SHIM_THREADS_SIGNAL;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction before;
    sigaction(signal, &action, &before);
    error = give_up_in_other_threads(signal);
    /* After a failure the signal may still be pending somewhere, and would end the process. */
    if (error == 0)
        sigaction(signal, &before, NULL);
    return shim_number(env, -error);
}

void shim_register_threads(napi_env env, napi_value exports)
{
    shim_export_function(env, exports, "dropCapabilities", drop_capabilities);
}
