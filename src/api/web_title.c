/* A title costs a short job of class background; whatever goes wrong, the first words stay. */
#include "api/web_title.h"
#include "api/request.h"
#include "api/tasks.h"
#include "api/web_events.h"
#include "api/web_models.h"
#include "api/web_run_impl.h"
#include "base/clock.h"
#include "base/limits.h"
#include "http/json.h"
#include <string.h>

enum { TITLE_CHARS = 60, TITLE_TOKENS = 24, EXCERPT_BYTES = 1500 };

str web_title_of(arena *a, str text) {
    size_t pos = 0, end = 0, n = 0;
    text = str_trim(text);
    bool cut = false;
    buf b = {0};
    while (pos < text.len && !cut) {
        uint32_t c = str_utf8_next(text, &pos);
        if (c < ' ' || c == 127) c = ' ';
        if (c == ' ') end = b.len;
        if (++n > TITLE_CHARS) cut = true;
        if (!cut) buf_put_utf8(&b, c);
    }
    str s = cut && end > 10 ? str_sub(buf_str(&b), 0, end) : buf_str(&b);
    s = str_fmt(a, STR_FMT "%s", STR_ARG(str_trim(s)), cut ? "…" : "");
    buf_finish(&b);
    return s;
}

typedef struct title_task {
    web *w;
    arena *a;
    str user_id, chat_id;
} title_task;

static str excerpt(str s) {
    s = str_sub(s, 0, EXCERPT_BYTES);
    return str_sub(s, 0, s.len - str_utf8_partial(s));
}

/* First line, without quotes and marks around it. */
static str clean(arena *a, str text) {
    static const char marks[] = "\"'#*` \t.:";
    text = str_trim(text);
    text = str_cut(&text, '\n');
    if (str_starts(text, STR("Title:"))) text = str_sub(text, 6, text.len);
    while (text.len && strchr(marks, text.ptr[0])) text = str_sub(text, 1, text.len);
    while (text.len && strchr(marks, text.ptr[text.len - 1])) text.len--;
    return web_title_of(a, text);
}

static value *say(title_task *t, str question, str answer) {
    value *list = value_list(t->a);
    str text = str_fmt(t->a,
                       "Write a title of two to six words for this conversation. Answer with the "
                       "title alone.\n\nUser: " STR_FMT "\n\nAssistant: " STR_FMT,
                       STR_ARG(excerpt(question)), STR_ARG(excerpt(answer)));
    value_push(t->a, list, request_message(t->a, STR("user"), text));
    return list;
}

/* What the model says, or nothing. */
static str ask(title_task *t, const engine_job_spec *job) {
    engine_stream *s;
    buf text = {0};
    if (engine_submit(t->w->chat->eng, job, NULL, NULL, &s, NULL)) return STR("");
    for (bool over = false; !over;) {
        engine_event ev;
        pthread_mutex_lock(&t->w->runs->lock);
        over = t->w->runs->stop;
        pthread_mutex_unlock(&t->w->runs->lock);
        if (over || !engine_stream_wait(s, 200 * NS_PER_MS, &ev)) continue;
        if (ev.kind == ENGINE_EVENT_TEXT && ev.channel == ENGINE_CHANNEL_CONTENT)
            buf_put_str(&text, ev.text);
        over = ev.kind == ENGINE_EVENT_DONE || ev.kind == ENGINE_EVENT_ERROR;
    }
    engine_stream_destroy(&s);
    str out = str_dup(t->a, buf_str(&text));
    buf_finish(&text);
    return out;
}

static str make_title(title_task *t, const chat *c) {
    message *list;
    size_t n;
    web_model m = {0};
    engine_job_spec job = {0};
    str title = STR("");
    if (messages_of(t->w->db, c->id, t->a, &list, &n, NULL) || n < 2) return title;
    const message *question = &list[0], *answer = NULL;
    for (size_t i = 1; i < n && !answer; i++)
        if (str_eq(list[i].parent_id, question->id) && list[i].content.len) answer = &list[i];
    if (!answer || web_model_find(t->w, t->user_id, answer->model, t->a, &m, NULL)) return title;
    json_t *few = json_pack("{s:i, s:f}", "num_predict", TITLE_TOKENS, "temperature", 0.3);
    if (!request_job(&m.base, few, t->a, &job, NULL)) {
        job.background = true;
        job.user = t->user_id;
        job.prompt.kind = ENGINE_PROMPT_MESSAGES;
        job.prompt.messages = say(t, question->content, answer->content);
        job.prompt.think = ENGINE_THINK_OFF;
        job.prompt.truncate = true;
        title = clean(t->a, ask(t, &job));
    }
    json_decref(few);
    web_model_finish(&m);
    return title;
}

static void run(void *arg) {
    title_task *t = arg;
    chat c;
    if (!chats_find(t->w->db, t->user_id, t->chat_id, t->a, &c, NULL) && !c.titled) {
        str title = make_title(t, &c);
        if (title.len && !chats_set_title(t->w->db, t->chat_id, title, NULL))
            web_chat_changed(t->w, t->user_id, t->chat_id);
    }
    arena *a = t->a;
    arena_destroy(&a);
}

void web_run_title(web *w, str user_id, str chat_id, bool asked) {
    pthread_mutex_lock(&w->runs->lock);
    bool stopped = w->runs->stop;
    pthread_mutex_unlock(&w->runs->lock);
    if (stopped || (!asked && !web_site_flag(w, "TITLE_GENERATION", true))) return;
    arena *a = arena_create(0);
    title_task *t = ARENA_NEW(a, title_task);
    *t = (title_task){w, a, str_dup(a, user_id), str_dup(a, chat_id)};
    tasks_run(w->chat->tasks, run, t);
}
