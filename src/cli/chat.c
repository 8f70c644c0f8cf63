/* The terminal chat: a prompt with history and editing (libedit), slash commands, multi-line input.
 *
 * Ctrl-C stops an answer or clears the line, Ctrl-D ends, Ctrl-G opens an editor. A message that
 * begins with three quotes goes on until a line ends with three quotes. */
#include "cli/run.h"
#include "cli/slash.h"
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct terminal {
    EditLine *el;
    History *history;
    bool in_block; /* inside """ ... """: the continuation prompt */
    const cli_env *env;
} terminal;

static const char *prompt_text(EditLine *el) {
    void *data;
    el_get(el, EL_CLIENTDATA, &data);
    return ((terminal *)data)->in_block ? "... " : ">>> ";
}

/* Ctrl-G: the line goes to an editor through a temporary file and comes back. */
static unsigned char edit_line(EditLine *el, int ch) {
    (void)ch;
    void *data;
    el_get(el, EL_CLIENTDATA, &data);
    const char *editor = ((terminal *)data)->env->editor;
    char path[] = "/tmp/hob-message-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) return CC_ERROR;
    const LineInfo *line = el_line(el);
    ssize_t put = write(fd, line->buffer, (size_t)(line->lastchar - line->buffer));
    close(fd);
    pid_t pid = put < 0 ? -1 : fork();
    if (pid == 0) {
        execlp(editor ? editor : "vi", editor ? editor : "vi", path, (char *)NULL);
        _exit(127);
    }
    int status = 1;
    if (pid > 0) waitpid(pid, &status, 0);
    FILE *f = status == 0 ? fopen(path, "rb") : NULL;
    if (f) {
        char text[8192];
        size_t n = fread(text, 1, sizeof text - 1, f);
        while (n && text[n - 1] == '\n') n--;
        for (size_t i = 0; i < n; i++)
            if (text[i] == '\n') text[i] = ' ';
        text[n] = '\0';
        fclose(f);
        el_cursor(el, (int)(line->lastchar - line->cursor));
        el_deletestr(el, (int)(line->lastchar - line->buffer));
        el_insertstr(el, text);
    }
    unlink(path);
    return CC_REDISPLAY;
}

static void terminal_open(terminal *t, const cli_env *env) {
    t->env = env;
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
    t->el = el_init("hob", stdin, stdout, stderr);
    t->history = history_init();
    HistEvent ev;
    history(t->history, &ev, H_SETSIZE, 1000);
    history(t->history, &ev, H_SETUNIQUE, 1);
    if (env->history_path) history(t->history, &ev, H_LOAD, env->history_path);
    el_set(t->el, EL_CLIENTDATA, t);
    el_set(t->el, EL_PROMPT, prompt_text);
    el_set(t->el, EL_EDITOR, "emacs");
    el_set(t->el, EL_SIGNAL, 0);
    el_set(t->el, EL_HIST, history, t->history);
    el_set(t->el, EL_ADDFN, "hob-edit", "edit the line in an editor", edit_line);
    el_set(t->el, EL_BIND, "^G", "hob-edit", NULL);
}

static void terminal_close(terminal *t, bool keep_history) {
    HistEvent ev;
    if (keep_history && t->env->history_path)
        history(t->history, &ev, H_SAVE, t->env->history_path);
    history_end(t->history);
    el_end(t->el);
}

/* Reads one message, possibly of several lines. False at the end of input. */
static bool read_message(terminal *t, buf *out) {
    buf_clear(out);
    t->in_block = false;
    cli_interrupted(true); /* what stopped the last answer; from here on it stops the next */
    for (;;) {
        int n = 0;
        errno = 0;
        const char *line = el_gets(t->el, &n);
        if (!line || n <= 0) {
            if (errno != EINTR && !cli_interrupted(false)) return false;
            cli_interrupted(true);
            printf("\nUse Ctrl + d or /bye to exit.\n");
            el_reset(t->el);
            buf_clear(out);
            t->in_block = false;
            continue;
        }
        str text = {line, (size_t)n};
        while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
            text.len--;
        if (!t->in_block && str_starts(text, STR("\"\"\""))) {
            text = str_sub(text, 3, text.len);
            t->in_block = true;
        } else if (!t->in_block) {
            buf_put_str(out, text);
            return true;
        }
        bool ends = str_ends(text, STR("\"\"\""));
        if (ends) text.len -= 3;
        if (out->len) buf_put_char(out, '\n');
        buf_put_str(out, text);
        if (ends) {
            t->in_block = false;
            return true;
        }
    }
}

int chat_loop(cli_context *c, run_session *s) {
    terminal t = {0};
    terminal_open(&t, c->env);
    slash_state slash = {.keep_history = true};
    buf message = {0};
    err e;
    printf("Chat with %s. /? for help, /bye or Ctrl-D to leave.\n", s->model);
    while (!slash.leave && read_message(&t, &message)) {
        str text = str_trim(buf_str(&message));
        if (text.len == 0) continue;
        HistEvent ev;
        if (slash.keep_history) history(t.history, &ev, H_ENTER, buf_cstr(&message));
        if (text.ptr[0] == '/') {
            slash_run(c, s, &slash, text);
        } else if (run_send(c, s, buf_str(&message), &e)) {
            cli_fail(&e);
        }
    }
    if (!slash.leave) printf("\n");
    terminal_close(&t, slash.keep_history);
    buf_finish(&message);
    return 0;
}
