/* hob: commands, start-up and shutdown order.
 *
 * `hob serve` opens the store, starts the engine, the pump that carries its events to clients, and
 * the HTTP server; on SIGINT or SIGTERM they end in the opposite order. Every other command is a
 * client (cli/). The only place that reads the environment. */
#include "api/api.h"
#include "api/comfy.h"
#include "api/models.h"
#include "api/pump.h"
#include "api/tasks.h"
#include "api/web.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cli.h"
#include "kern/kern.h"
#include "net/net.h"
#include "os/file.h"
#include "registry/registry.h"
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char VERSION[] = "0.33.0"; /* the release of Ollama's API that clients may expect */

enum { CHAT_PORT = 11434, IMAGE_PORT = 8188, WEB_PORT = 8080 };

static str env(const char *name) {
    return str_trim(str_from(getenv(name)));
}

/* A whole number from the environment; anything else counts as unset, with a warning. */
static int64_t env_number(const char *name, int64_t fallback) {
    int64_t v;
    str text = env(name);
    if (text.len == 0) return fallback;
    if (str_to_i64(text, &v) && v >= 0) return v;
    log_warn("%s=%.*s is not a number; using %lld", name, STR_ARG(text), (long long)fallback);
    return fallback;
}

/* Seconds or a Go duration; negative is for ever. */
static int64_t env_keep_alive(void) {
    str text = env("OLLAMA_KEEP_ALIVE");
    int64_t ns = 5 * 60 * NS_PER_S, seconds;
    if (text.len == 0) return ns;
    if (str_to_i64(text, &seconds)) {
        if (seconds > CLOCK_FOREVER / NS_PER_S) return CLOCK_FOREVER;
        ns = seconds * NS_PER_S;
    } else if (!clock_parse_go(text, &ns)) {
        log_warn("OLLAMA_KEEP_ALIVE=%.*s is not a duration; using 5m", STR_ARG(text));
    }
    return ns < 0 ? CLOCK_FOREVER : ns;
}

/* Bytes with an optional K, M or G (powers of 1024). */
static uint64_t env_bytes(const char *name) {
    str text = env(name);
    double v;
    static const char UNITS[] = "KMGT";
    double scale = 1;
    if (text.len == 0) return 0;
    const char *unit = strchr(UNITS, text.ptr[text.len - 1] & ~32);
    if (unit) {
        for (const char *u = UNITS; u <= unit; u++) scale *= 1024;
        text.len--;
    }
    if (str_to_f64(text, &v) && v > 0 && v * scale < 1e18) return (uint64_t)(v * scale);
    log_warn("%s is not a size such as 16G; using the default", name);
    return 0;
}

/* HOB_HOME, else $XDG_DATA_HOME/hob, else ~/.local/share/hob. */
static const char *home_dir(arena *a) {
    str home = env("HOB_HOME"), xdg = env("XDG_DATA_HOME"), login = env("HOME");
    if (home.len) return str_cstr(a, home);
    if (xdg.len) return str_fmt(a, STR_FMT "/hob", STR_ARG(xdg)).ptr;
    return str_fmt(a, STR_FMT "/.local/share/hob", STR_ARG(login)).ptr;
}

static const char *models_dir(arena *a) {
    str models = env("OLLAMA_MODELS");
    return models.len ? str_cstr(a, models) : str_fmt(a, "%s/models", home_dir(a)).ptr;
}

/* How networks of pictures compute: --precision, else HOB_PRECISION, else f32. */
static err_code read_precision(int argc, char **argv, bool *ret_bf16, err *e) {
    str p = env("HOB_PRECISION");
    for (int i = 0; i < argc; i++) {
        str arg = str_from(argv[i]);
        if (str_starts(arg, STR("--precision=")))
            p = str_sub(arg, sizeof "--precision=" - 1, arg.len);
        else if (str_eq(arg, STR("--precision")) && i + 1 < argc)
            p = str_from(argv[++i]);
        else
            FAIL(e, INVALID,
                 "serve does not take \"%s\"; its one option is --precision f32 or bf16", argv[i]);
    }
    *ret_bf16 = str_eq(p, STR("bf16"));
    if (*ret_bf16 || p.len == 0 || str_eq(p, STR("f32"))) return ERR_OK;
    FAIL(e, INVALID, "precision \"%.*s\" is not known: f32 (the default) or bf16", STR_ARG(p));
}

static engine_config engine_settings(void) {
    int64_t level = env_number("HOB_CPU_LEVEL", KERN_LEVEL_COUNT - 1); /* see kern/kern.h */
    kern_level_limit((kern_level)(level < KERN_LEVEL_COUNT ? level : KERN_LEVEL_COUNT - 1));
    return (engine_config){
        .n_threads = (int32_t)env_number("HOB_THREADS", 0),
        .budget_bytes = env_bytes("HOB_MEMORY"),
        .keep_alive_ns = env_keep_alive(),
        .max_queue = (int32_t)env_number("OLLAMA_MAX_QUEUE", 0),
        .max_loaded_models = (int32_t)env_number("OLLAMA_MAX_LOADED_MODELS", 0),
        .max_parallel = (int32_t)env_number("OLLAMA_NUM_PARALLEL", 0),
        .default_ctx = (int32_t)env_number("OLLAMA_CONTEXT_LENGTH", 0),
    };
}

/* ---- serve ---- */

typedef struct services {
    api a;
    folders *dirs;
    db *db;
    comfy *pictures;
    web *web;
    web_key_gate chat_gate, image_gate;
    http_mount mounts[2];
    http_server *chat, *image, *site;
    net *net;
} services;

/* "off", "false", "0" and "no" switch something off. */
static bool env_is_off(const char *name) {
    static const char *const words[] = {"off", "false", "0", "no"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_eq_nocase(env(name), str_from(words[i]))) return true;
    return false;
}

/* A listener that others can reach asks for keys, unless that was switched off by name. */
static void add_key_gate(http_config *http, web_key_gate *gate) {
    if (http_addr_is_loopback(&http->addr) || env_is_off("HOB_KEYS")) return;
    http->gate = web_key_check;
    http->gate_ctx = gate;
}

/* The first of these variables that is set. */
static const char *env_first(const char *a, const char *b) {
    return env(a).len ? getenv(a) : getenv(b);
}

/* HF_TOKEN, or the file of HF_TOKEN_PATH, HF_HOME/token or ~/.cache/huggingface/token. */
static const char *hf_token(arena *mem) {
    str path = env("HF_TOKEN_PATH"), home = env("HF_HOME");
    buf text = {0};
    if (env("HF_TOKEN").len) return str_cstr(mem, env("HF_TOKEN"));
    if (path.len == 0)
        path = home.len ? str_fmt(mem, STR_FMT "/token", STR_ARG(home))
                        : str_fmt(mem, STR_FMT "/.cache/huggingface/token", STR_ARG(env("HOME")));
    const char *token = NULL;
    if (file_read(str_cstr(mem, path), 4096, &text, NULL) == ERR_OK)
        token = str_cstr(mem, str_trim(buf_str(&text)));
    buf_finish(&text);
    return token;
}

/* What goes out: the registry client, its rules and its credentials. */
static void start_registry(services *s, arena *mem) {
    bool no_prune = env("OLLAMA_NOPRUNE").len && !str_eq(env("OLLAMA_NOPRUNE"), STR("0")) &&
                    !str_eq_nocase(env("OLLAMA_NOPRUNE"), STR("false"));
    str hf = env("HF_ENDPOINT");
    str hosts = env("HOB_REGISTRIES");
    if (str_find(hf, STR("://")) >= 0) { /* a mirror that the administrator named */
        str rest = str_sub(hf, (size_t)str_find(hf, STR("://")) + 3, hf.len);
        str host = str_cut(&rest, '/');
        hosts = str_fmt(mem, STR_FMT "," STR_FMT, STR_ARG(hosts), STR_ARG(host));
    }
    net_config out = {.user_agent = "ollama/0.33.0 (amd64 linux) hob",
                      .hosts = str_cstr(mem, hosts),
                      .http_proxy = env_first("HTTP_PROXY", "http_proxy"),
                      .https_proxy = env_first("HTTPS_PROXY", "https_proxy"),
                      .no_proxy = env_first("NO_PROXY", "no_proxy"),
                      .ca_file = getenv("SSL_CERT_FILE"),
                      .stall_s = (int32_t)env_number("HOB_NET_STALL", 0)};
    s->net = net_create(&out);
    registry_config c = {.net = s->net,
                         .store = s->a.store,
                         .key_path = str_fmt(mem, "%s/id_ed25519", home_dir(mem)).ptr,
                         .key_path_alt =
                             str_fmt(mem, STR_FMT "/.ollama/id_ed25519", STR_ARG(env("HOME"))).ptr,
                         .hf_endpoint = hf.len ? str_cstr(mem, hf) : NULL,
                         .hf_token = hf_token(mem),
                         .n_streams = (int32_t)env_number("OLLAMA_MAX_TRANSFER_STREAMS", 0),
                         .keep_unused = no_prune};
    s->a.registry = registry_create(&c);
    if (!no_prune) store_prune(s->a.store);
}

/* The picture half: its directories and queue. */
static err_code start_pictures(services *s, arena *mem, err *e) {
    str dir = env("HOB_IMAGE_DIR");
    folders_config dirs = {.base = dir.len ? str_cstr(mem, dir)
                                           : str_fmt(mem, "%s/comfy", home_dir(mem)).ptr,
                           .output = getenv("HOB_IMAGE_OUTPUT"),
                           .input = getenv("HOB_IMAGE_INPUT"),
                           .temp = getenv("HOB_IMAGE_TEMP"),
                           .extra_paths = getenv("HOB_IMAGE_PATHS")};
    TRY(folders_open(&dirs, &s->dirs, e));
    comfy_config config = {.eng = s->a.eng,
                           .db = s->db,
                           .dirs = s->dirs,
                           .preview_method = getenv("HOB_IMAGE_PREVIEW"),
                           .web_dir = getenv("HOB_IMAGE_WEB"),
                           .no_metadata = env("HOB_IMAGE_NO_METADATA").len > 0};
    TRY(comfy_create(&config, &s->pictures, e));
    s->a.pictures = s->pictures;
    return ERR_OK;
}

static err_code listen_pictures(services *s, const http_addr *addr, err *e) {
    http_config http = {.addr = *addr,
                        .origins = getenv("HOB_IMAGE_ORIGINS"),
                        .guard = HTTP_GUARD_SITES,
                        .also_prefix = "/api",
                        .head_gets = true,
                        .fallback = comfy_static_file,
                        .ctx = s->pictures,
                        .upload_dir = s->dirs->input.ptr,
                        .upload_bytes_max = LIMIT_UPLOAD_BYTES};
    http.routes = comfy_routes(&http.n_routes);
    add_key_gate(&http, &s->image_gate);
    return http_server_create(&http, &s->image, e);
}

/* Accounts and chats; they also know the keys that open the other listeners. */
static err_code start_web(services *s, arena *mem, err *e) {
    web_config config = {.chat = &s->a,
                         .pictures = s->pictures,
                         .db = s->db,
                         .home = home_dir(mem),
                         .secret = getenv("WEBUI_SECRET_KEY"),
                         .secret_path = getenv("WEBUI_SECRET_KEY_FILE"),
                         .no_login = env_is_off("HOB_WEB_AUTH") || env_is_off("WEBUI_AUTH"),
                         .proxies = getenv("HOB_WEB_PROXIES"),
                         .static_key = getenv("HOB_API_KEY"),
                         .name = getenv("WEBUI_NAME"),
                         .admin_email = getenv("WEBUI_ADMIN_EMAIL"),
                         .admin_password = getenv("WEBUI_ADMIN_PASSWORD"),
                         .admin_name = getenv("WEBUI_ADMIN_NAME")};
    TRY(web_create(&config, &s->web, e));
    s->chat_gate = (web_key_gate){s->web, false};
    s->image_gate = (web_key_gate){s->web, true};
    return ERR_OK;
}

static err_code listen_web(services *s, const http_addr *addr, err *e) {
    http_config http = {.addr = *addr,
                        .origins = getenv("HOB_WEB_ORIGINS"),
                        .guard = HTTP_GUARD_SAME,
                        .fallback = web_page,
                        .ctx = s->web,
                        .gate = web_gate,
                        .gate_ctx = s->web,
                        .mounts = s->mounts,
                        .upload_dir = s->web->files_dir.ptr,
                        .upload_bytes_max = LIMIT_UPLOAD_BYTES};
    http.routes = web_routes(&http.n_routes);
    http_mount *m = &s->mounts[http.n_mounts++];
    *m = (http_mount){.prefix = "/ollama", .ctx = &s->a};
    m->routes = api_chat_routes(&m->n_routes);
    if (s->pictures) {
        m = &s->mounts[http.n_mounts++];
        *m = (http_mount){.prefix = "/comfy",
                          .ctx = s->pictures,
                          .also_prefix = "/api",
                          .head_gets = true,
                          .upload_dir = s->dirs->input.ptr,
                          .upload_bytes_max = LIMIT_UPLOAD_BYTES};
        m->routes = comfy_routes(&m->n_routes);
    }
    return http_server_create(&http, &s->site, e);
}

static err_code listen_chat(services *s, const http_addr *addr, err *e) {
    http_config http = {.addr = *addr, .ctx = &s->a, .origins = getenv("OLLAMA_ORIGINS")};
    http.routes = api_chat_routes(&http.n_routes);
    add_key_gate(&http, &s->chat_gate);
    return http_server_create(&http, &s->chat, e);
}

static err_code start(services *s, const engine_config *config, arena *mem, err *e) {
    http_addr chat = http_addr_parse(getenv("OLLAMA_HOST"), CHAT_PORT);
    http_addr image = http_addr_parse(getenv("HOB_IMAGE_HOST"), IMAGE_PORT);
    http_addr site = http_addr_parse(getenv("HOB_WEB_HOST"), WEB_PORT);
    bool keys = !env_is_off("HOB_KEYS") && ((!chat.off && !http_addr_is_loopback(&chat)) ||
                                            (!image.off && !http_addr_is_loopback(&image)));
    if (chat.off && image.off && site.off)
        FAIL(e, INVALID, "all hosts are off: there is nothing to serve");
    s->a.version = VERSION;
    /* whoever can reach a loopback address can mostly read this machine's files anyway */
    s->a.in_place = env("HOB_IN_PLACE").len        ? getenv("HOB_IN_PLACE")
                    : http_addr_is_loopback(&chat) ? "*"
                                                   : "";
    TRY(store_open(models_dir(mem), &s->a.store, e));
    start_registry(s, mem);
    TRY(engine_create(config, &s->a.eng, e));
    api_models_offer(&s->a);
    s->a.pump = pump_create();
    s->a.tasks = tasks_create();
    if (!image.off || !site.off || keys)
        TRY(db_open(str_fmt(mem, "%s/hob.db", home_dir(mem)).ptr, &s->db, e));
    if (!image.off || !site.off) TRY(start_pictures(s, mem, e));
    if (!site.off || keys) TRY(start_web(s, mem, e));
    if (!image.off) TRY(listen_pictures(s, &image, e));
    if (!site.off) TRY(listen_web(s, &site, e));
    return chat.off ? ERR_OK : listen_chat(s, &chat, e);
}

static void stop(services *s) {
    web_stop(s->web);
    comfy_stop(s->pictures);
    http_server_destroy(&s->site);
    http_server_destroy(&s->image);
    http_server_destroy(&s->chat);
    registry_stop(s->a.registry);
    tasks_destroy(&s->a.tasks);
    web_destroy(&s->web);
    comfy_destroy(&s->pictures);
    registry_destroy(&s->a.registry);
    net_destroy(&s->net);
    pump_destroy(&s->a.pump);
    engine_destroy(&s->a.eng);
    db_close(&s->db);
    folders_close(&s->dirs);
    store_close(&s->a.store);
}

static void log_address(const char *what, const char *variable, int port, const http_server *s) {
    http_addr addr = http_addr_parse(getenv(variable), port);
    char url[320];
    if (!s) return;
    addr.port = http_server_port(s);
    http_addr_url(&addr, url, sizeof url);
    log_info("%s on %s", what, url);
}

static int serve(int argc, char **argv, arena *mem) {
    services s = {0};
    engine_config config = engine_settings();
    err e;
    int signal_number;
    sigset_t signals;
    signal(SIGPIPE, SIG_IGN); /* a command, in contrast, ends when nobody reads it */
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error, not the end */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* threads inherit this */
    if (env("OLLAMA_DEBUG").len && !str_eq(env("OLLAMA_DEBUG"), STR("0"))) log_set_level(LOG_DEBUG);
    if (read_precision(argc, argv, &config.bf16_pictures, &e) || start(&s, &config, mem, &e)) {
        log_error("%s", e.msg);
        stop(&s);
        return 1;
    }
    log_address("chat API", "OLLAMA_HOST", CHAT_PORT, s.chat);
    log_address("picture API", "HOB_IMAGE_HOST", IMAGE_PORT, s.image);
    log_address("web app", "HOB_WEB_HOST", WEB_PORT, s.site);
    log_info("models in %s", models_dir(mem));
    if (config.bf16_pictures) log_info("networks of pictures compute in bf16");
    sigwait(&signals, &signal_number);
    log_info("stopping");
    stop(&s);
    return 0;
}

/* ---- clients ---- */

static int client(int argc, char **argv, arena *mem) {
    char url[320], image_url[320];
    http_addr addr = http_addr_parse(getenv("OLLAMA_HOST"), CHAT_PORT);
    http_addr image_addr = http_addr_parse(getenv("HOB_IMAGE_HOST"), IMAGE_PORT);
    http_addr_url(&addr, url, sizeof url);
    http_addr_url(&image_addr, image_url, sizeof image_url);
    bool keep_history = env("OLLAMA_NOHISTORY").len == 0;
    cli_env e = {.url = url,
                 .image_url = image_url,
                 .history_path =
                     keep_history ? str_fmt(mem, "%s/history", home_dir(mem)).ptr : NULL,
                 .editor = getenv("OLLAMA_EDITOR") ? getenv("OLLAMA_EDITOR") : getenv("EDITOR"),
                 .version = VERSION,
                 .key = getenv("OLLAMA_API_KEY"),
                 .home = getenv("HOME")};
    if (keep_history) file_mkdirs(home_dir(mem), NULL);
    return cli_main(argc, argv, &e);
}

int main(int argc, char **argv) {
    mallopt(M_ARENA_MAX, 2); /* a server of few threads: less memory kept by each */
    arena *mem = arena_create(0);
    int status = cli_is_serve(argc - 1, argv + 1) ? serve(argc - 2, argv + 2, mem)
                                                  : client(argc - 1, argv + 1, mem);
    arena_destroy(&mem);
    return status;
}
