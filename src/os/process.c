/* fork, limits, exec; then the two pipes are read until both are closed or time is over. */
#include "os/process.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ERRORS_BYTES = 4096 };

static void limit(int what, uint64_t v) {
    struct rlimit r = {v, v};
    setrlimit((__rlimit_resource_t)what, &r);
}

/* In the child: only calls that are allowed between fork and exec. */
static _Noreturn void become(const process_spec *s, const char *path, int out, int errors) {
    static char locale[] = "LC_ALL=C.UTF-8";
    char *const environment[] = {locale, NULL};
    sigset_t none;
    int null = open("/dev/null", O_RDONLY);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
        /* not everywhere allowed; the limits below hold anyway */
    }
    limit(RLIMIT_CPU, (uint64_t)s->cpu_s);
    limit(RLIMIT_AS, s->memory_bytes);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, 64);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(errors, 2) < 0) _exit(127);
    execve(path, (char *const *)(uintptr_t)s->argv, environment);
    _exit(127);
}

static bool find_program(const char *name, char path[300]) {
    static const char *const dirs[] = {"/usr/bin", "/bin", "/usr/local/bin"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, 300, "%s/%s", dirs[i], name);
        if (access(path, X_OK) == 0) return true;
    }
    return false;
}

/* Reads both pipes; false: time is over. */
static bool gather(const process_spec *s, int out_fd, int err_fd, buf *out, buf *errors) {
    int64_t deadline = clock_mono_ns() + s->wall_s * NS_PER_S;
    struct pollfd fds[2] = {{out_fd, POLLIN, 0}, {err_fd, POLLIN, 0}};
    size_t start = out->len;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        int64_t left = (deadline - clock_mono_ns()) / NS_PER_MS;
        if (left <= 0) return false;
        if (poll(fds, 2, (int)left) < 0 && errno != EINTR) return false;
        for (int i = 0; i < 2; i++) {
            char piece[16384];
            if (fds[i].fd < 0 || !fds[i].revents) continue;
            ssize_t n = read(fds[i].fd, piece, sizeof piece);
            buf *to = i ? errors : out;
            size_t max = i ? ERRORS_BYTES : start + s->output_bytes;
            if (n <= 0) fds[i].fd = -1;
            if (n > 0 && to->len < max)
                buf_put(to, piece, to->len + (size_t)n > max ? max - to->len : (size_t)n);
            if (!i && to->len >= max) return true; /* enough: the rest is cut off */
        }
    }
    return true;
}

static err_code ended(const process_spec *s, int status, bool in_time, bool enough, str errors,
                      err *e) {
    if (!in_time) FAIL(e, LIMIT, "%s took longer than %d seconds", s->argv[0], s->wall_s);
    if (enough || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return ERR_OK;
    if (WIFSIGNALED(status))
        FAIL(e, LIMIT, "%s was stopped by signal %d: it used too much time or memory", s->argv[0],
             WTERMSIG(status));
    FAIL(e, INVALID, "%s failed: " STR_FMT, s->argv[0], STR_ARG(str_trim(errors)));
}

err_code process_run(const process_spec *s, buf *out, err *e) {
    char path[300];
    int o[2], r[2], status = 0;
    if (!find_program(s->argv[0], path))
        FAIL(e, NOT_FOUND, "the program %s is not installed", s->argv[0]);
    if (pipe2(o, O_CLOEXEC)) FAIL(e, IO, "no pipe: %s", strerror(errno));
    if (pipe2(r, O_CLOEXEC)) {
        close(o[0]);
        close(o[1]);
        FAIL(e, IO, "no pipe: %s", strerror(errno));
    }
    pid_t pid = fork();
    if (pid == 0) become(s, path, o[1], r[1]);
    close(o[1]);
    close(r[1]);
    buf errors = {0};
    size_t start = out->len;
    bool in_time = pid > 0 && gather(s, o[0], r[0], out, &errors);
    bool enough = out->len - start >= s->output_bytes;
    if (pid > 0 && (!in_time || enough)) kill(pid, SIGKILL);
    close(o[0]);
    close(r[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    err_code code = pid > 0 ? ended(s, status, in_time, enough, buf_str(&errors), e)
                            : err_set(e, ERR_IO, "cannot start %s: %s", path, strerror(errno));
    buf_finish(&errors);
    return code;
}
