/* The web app's tables: who may see what, trees of messages, the index, what a crash leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "store/chats.h"
#include "store/files.h"
#include "store/items.h"
#include "store/sql.h"
#include "store/users.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static db *d;
static arena *a;
static err e;

static int open_db(void **state) {
    (void)state;
    char path[100];
    snprintf(dir, sizeof dir, "/tmp/hob-store-web-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/hob.db", dir);
    assert_int_equal(db_open(path, &d, &e), ERR_OK);
    a = arena_create(0);
    assert_int_equal(users_migrate(d, &e), ERR_OK);
    assert_int_equal(chats_migrate(d, &e), ERR_OK);
    assert_int_equal(items_migrate(d, &e), ERR_OK);
    assert_int_equal(files_migrate(d, &e), ERR_OK);
    user ann = {.id = STR("ann"),
                .email = STR("ann@x"),
                .name = STR("Ann"),
                .role = STR("pending"),
                .settings = STR("{}"),
                .password = STR("p")};
    user bob = {.id = STR("bob"),
                .email = STR("bob@x"),
                .name = STR("Bob"),
                .role = STR("user"),
                .settings = STR("{}"),
                .password = STR("p")};
    assert_int_equal(users_add(d, &ann, false, a, &e), ERR_OK);
    assert_string_equal(ann.role.ptr, "admin"); /* the first one */
    assert_int_equal(users_add(d, &bob, false, a, &e), ERR_INVALID);
    assert_int_equal(users_add(d, &bob, true, a, &e), ERR_OK);
    assert_string_equal(bob.role.ptr, "user");
    return 0;
}

static int close_db(void **state) {
    (void)state;
    char command[100];
    db_close(&d);
    arena_destroy(&a);
    static const char *const names[] = {"hob.db", "hob.db-wal", "hob.db-shm"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(command, sizeof command, "%s/%s", dir, names[i]);
        unlink(command);
    }
    rmdir(dir);
    return 0;
}

static void users_keep_an_admin(void **state) {
    (void)state;
    user u;
    assert_int_equal(users_find_email(d, STR("ANN@x"), a, &u, &e), ERR_OK);
    u.role = STR("user");
    assert_int_equal(users_update(d, &u, &e), ERR_INVALID);
    assert_int_equal(users_delete(d, STR("ann"), &e), ERR_INVALID);
    u.role = STR("admin");
    u.email = STR("BOB@x");
    assert_int_equal(users_update(d, &u, &e), ERR_INVALID); /* taken */
    assert_int_equal(users_find(d, STR("no"), a, &u, &e), ERR_NOT_FOUND);
}

static void fields_that_are_not_there_stay(void **state) {
    (void)state;
    user u, late = {.id = STR("bob"), .settings = STR("{\"x\":1}")};
    assert_int_equal(users_update(d, &(user){.id = STR("bob"), .role = STR("pending")}, &e),
                     ERR_OK);
    assert_int_equal(users_update(d, &late, &e), ERR_OK); /* of a request that came before */
    assert_int_equal(users_find(d, STR("bob"), a, &u, &e), ERR_OK);
    assert_string_equal(u.role.ptr, "pending");
    assert_string_equal(u.settings.ptr, "{\"x\":1}");
    assert_string_equal(u.password.ptr, "p");
    assert_int_equal(users_update(d, &(user){.id = STR("ann"), .name = STR("A")}, &e), ERR_OK);
}

static void grants_end(void **state) {
    (void)state;
    unsigned char one[32] = {1}, two[32] = {2};
    grant g = {.id = STR("g1"), .user_id = STR("ann"), .expires_ms = 1000}, found;
    assert_int_equal(grants_add(d, &g, one, &e), ERR_OK);
    g.id = STR("g2");
    assert_int_not_equal(grants_add(d, &g, one, &e), ERR_OK); /* hashes are unique */
    assert_int_equal(grants_find(d, one, 999, a, &found, &e), ERR_OK);
    assert_int_equal(grants_find(d, one, 1000, a, &found, &e), ERR_NOT_FOUND);
    assert_int_equal(grants_find(d, two, 0, a, &found, &e), ERR_NOT_FOUND);
    bool any;
    assert_int_equal(grants_delete(d, STR("bob"), STR("g1"), &any, &e), ERR_OK);
    assert_false(any);
    assert_int_equal(grants_expire(d, 5000, &e), ERR_OK);
    grant_list list;
    assert_int_equal(grants_list(d, STR("ann"), false, a, &list, &e), ERR_OK);
    assert_int_equal(list.n, 0);
}

static void add_chat(const char *id, const char *owner, int64_t at) {
    chat c = {.id = str_from(id),
              .user_id = str_from(owner),
              .title = str_from(id),
              .created_ms = at,
              .updated_ms = at};
    assert_int_equal(chats_add(d, &c, NULL, 0, &e), ERR_OK);
}

static message make(const char *id, const char *parent, const char *content) {
    return (message){.id = str_from(id),
                     .parent_id = str_from(parent),
                     .role = STR("user"),
                     .content = str_from(content),
                     .state = STR("done"),
                     .created_ms = 5};
}

static void chats_belong_to_somebody(void **state) {
    (void)state;
    chat c, *list;
    size_t n;
    bool any;
    add_chat("c1", "ann", 1);
    add_chat("c2", "ann", 2);
    add_chat("c3", "bob", 3);
    assert_int_equal(chats_find(d, STR("bob"), STR("c1"), a, &c, &e), ERR_NOT_FOUND);
    chats_query q = {.user_id = STR("ann"), .limit = 10};
    assert_int_equal(chats_list(d, &q, a, &list, &n, &e), ERR_OK);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].id.ptr, "c2");
    q.before_ms = list[0].updated_ms;
    q.before_id = list[0].id;
    assert_int_equal(chats_list(d, &q, a, &list, &n, &e), ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(chats_delete(d, STR("bob"), STR("c1"), &any, &e), ERR_OK);
    assert_false(any);
    assert_int_equal(
        owned_check(d, OWNED_CHAT, &(item_key){STR("bob"), STR(""), STR("c1")}, &any, &e), ERR_OK);
    assert_false(any);
    assert_int_equal(users_delete(d, STR("bob"), &e), ERR_OK); /* and all that is theirs */
    assert_string_equal(chats_owner(d, STR("c3"), a).ptr, "");
}

static void trees_of_messages(void **state) {
    (void)state;
    add_chat("c1", "ann", 1);
    message m[4] = {make("m1", "", "one"), make("m2", "m1", "two"), make("m3", "m2", "three"),
                    make("m4", "m1", "four")};
    chat c;
    message_list path;
    bool any;
    assert_int_equal(messages_add(d, STR("c1"), m, 4, &e), ERR_OK);
    assert_int_not_equal(messages_add(d, STR("c1"), m, 1, &e), ERR_OK); /* ids are unique */
    assert_int_equal(chats_find(d, STR("ann"), STR("c1"), a, &c, &e), ERR_OK);
    assert_string_equal(c.current_id.ptr, "m4");
    assert_int_equal(messages_path(d, STR("c1"), STR("m3"), a, &path, &e), ERR_OK);
    assert_int_equal(path.n, 3);
    assert_string_equal(path.items[0].id.ptr, "m1");
    assert_int_equal(messages_path(d, STR("c2"), STR("m3"), a, &path, &e), ERR_NOT_FOUND);
    assert_int_equal(messages_delete(d, STR("c1"), STR("m4"), &any, &e), ERR_OK);
    assert_true(any);
    assert_int_equal(chats_find(d, STR("ann"), STR("c1"), a, &c, &e), ERR_OK);
    assert_string_equal(c.current_id.ptr, "m1");
    assert_int_equal(messages_delete(d, STR("c1"), STR("m1"), &any, &e), ERR_OK);
    message *all;
    size_t n;
    assert_int_equal(messages_of(d, STR("c1"), a, &all, &n, &e), ERR_OK);
    assert_int_equal(n, 0);
}

/* `text` with one ?, which counts up to n. */
static void fill(const char *text, int64_t n) {
    assert_int_equal(sql_run(d, (sql){text, (const sql_value[]){sql_int(n)}, 1}, NULL, &e), ERR_OK);
}

#define COUNT "WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < ?1) "

static void there_are_limits(void **state) {
    (void)state;
    add_chat("c1", "ann", 1);
    fill(COUNT "INSERT INTO message(id, chat_id, parent_id, role, content, thinking, model, state,"
               " error, files, sources, usage, picture, extra, created_ms)"
               " SELECT 'm' || i, 'c1', '', 'user', '', '', '', 'done', '', '', '', '', '', '', 1"
               " FROM x",
         LIMIT_WEB_MESSAGES - 1);
    message m[2] = {make("a", "", "x"), make("b", "a", "x")};
    assert_int_equal(messages_add(d, STR("c1"), m, 2, &e), ERR_LIMIT);
    assert_int_equal(messages_add(d, STR("c1"), m, 1, &e), ERR_OK);
    assert_int_equal(messages_add(d, STR("c1"), m + 1, 1, &e), ERR_LIMIT);
    fill(COUNT
         "INSERT INTO chat SELECT 'n' || i, 'ann', '', '', '', '', '', '', '', '', 0, 0, 0, 1,"
         " 1 FROM x",
         LIMIT_WEB_CHATS - 1);
    chat c = {.id = STR("one more"), .user_id = STR("ann")};
    assert_int_equal(chats_add(d, &c, NULL, 0, &e), ERR_LIMIT);
    c.user_id = STR("bob");
    assert_int_equal(chats_add(d, &c, NULL, 0, &e), ERR_OK);
    file_row f = {.id = STR("f"),
                  .user_id = STR("ann"),
                  .name = STR("a"),
                  .mime = STR(""),
                  .hash = STR(""),
                  .state = STR("completed"),
                  .n_bytes = LIMIT_WEB_FILES_BYTES};
    assert_int_equal(files_add(d, &f, &e), ERR_OK);
    f.id = STR("g");
    f.n_bytes = 1;
    assert_int_equal(files_add(d, &f, &e), ERR_LIMIT);
}

static void what_is_shared_stays(void **state) {
    (void)state;
    chat c;
    share s = {STR("s1"), STR("c1"), STR("{1}"), STR("[\"f\", \"f\", \"g\"]"), 5}, got;
    str owner;
    add_chat("c1", "ann", 1);
    assert_int_equal(shares_put(d, &s, &e), ERR_OK);
    assert_int_equal(shares_file_owner(d, STR("s1"), STR("f"), a, &owner, &e), ERR_OK);
    assert_string_equal(owner.ptr, "ann");
    s = (share){STR("s2"), STR("c1"), STR("{2}"), STR("[\"g\"]"), 6};
    assert_int_equal(shares_put(d, &s, &e), ERR_OK); /* again: the same link */
    assert_int_equal(shares_find(d, STR("s2"), a, &got, &e), ERR_NOT_FOUND);
    assert_int_equal(shares_find(d, STR("s1"), a, &got, &e), ERR_OK);
    assert_string_equal(got.body.ptr, "{2}");
    assert_int_equal(shares_file_owner(d, STR("s1"), STR("g"), a, &owner, &e), ERR_OK);
    assert_int_equal(shares_file_owner(d, STR("s1"), STR("f"), a, &owner, &e), ERR_NOT_FOUND);
    assert_int_equal(chats_find(d, STR("ann"), STR("c1"), a, &c, &e), ERR_OK);
    assert_string_equal(c.share_id.ptr, "s1");
    c.current_id = (str){0};
    assert_int_equal(chats_update(d, &c, &e), ERR_OK);
    assert_int_equal(shares_end(d, STR("c1"), &e), ERR_OK);
    assert_int_equal(shares_find(d, STR("s1"), a, &got, &e), ERR_NOT_FOUND);
    assert_int_equal(shares_file_owner(d, STR("s1"), STR("g"), a, &owner, &e), ERR_NOT_FOUND);
    assert_int_equal(chats_find(d, STR("ann"), STR("c1"), a, &c, &e), ERR_OK);
    assert_int_equal(c.share_id.len, 0);
    assert_int_equal(shares_put(d, &s, &e), ERR_OK);
    bool any;
    assert_int_equal(chats_delete(d, STR("ann"), STR("c1"), &any, &e), ERR_OK);
    assert_int_equal(shares_find(d, STR("s2"), a, &got, &e), ERR_NOT_FOUND);
}

static size_t n_hits(const char *text) {
    chat_hits hits;
    assert_int_equal(chats_search(d, STR("ann"), str_from(text), a, &hits, &e), ERR_OK);
    return hits.n;
}

static void the_index_follows(void **state) {
    (void)state;
    add_chat("c1", "ann", 1);
    message m = make("m1", "", "a platypus and a Übermut");
    assert_int_equal(messages_add(d, STR("c1"), &m, 1, &e), ERR_OK);
    assert_int_equal(n_hits("platyp"), 1);
    assert_int_equal(n_hits("ubermut"), 1);
    assert_int_equal(n_hits("typus"), 1); /* inside a word */
    assert_int_equal(n_hits("otter"), 0);
    assert_int_equal(n_hits("\" OR ( NEAR *"), 0);
    m.chat_id = STR("c1");
    m.content = STR("an otter");
    assert_int_equal(messages_update(d, &m, &e), ERR_OK);
    assert_int_equal(n_hits("platypus"), 0);
    assert_int_equal(n_hits("otter"), 1);
    bool any;
    assert_int_equal(chats_delete(d, STR("ann"), STR("c1"), &any, &e), ERR_OK);
    assert_int_equal(n_hits("otter"), 0);
    m = make("m2", "", "Die große Straße - nach C++");
    m.chat_id = STR("");
    chat street = {
        .id = STR("c3"), .user_id = STR("ann"), .title = STR("Ein Weg nach Köln (\"1\")")};
    assert_int_equal(chats_add(d, &street, &m, 1, &e), ERR_OK);
    static const char *const found[] = {
        "strasse",  "STRASSE", "Straße", "grosse strasse - nach", "C++ -",
        "koln weg", "KÖLN",    "\"köln", "weg \"nach köln\"",     "(\"1\")",
        "raße"};
    for (size_t i = 0; i < COUNT_OF(found); i++)
        if (n_hits(found[i]) != 1) fail_msg("%s", found[i]);
    assert_int_equal(n_hits("köln otter"), 0);
    assert_int_equal(n_hits("\xff\xfe"), 0);
    add_chat("c2", "ann", 2); /* the index is whole after all that */
    assert_int_equal(n_hits("c2"), 1);
}

static void what_was_said_survives(void **state) {
    (void)state;
    add_chat("c1", "ann", 1);
    message m[2] = {make("m1", "", "question"), make("m2", "m1", "")}, found, *pictures;
    size_t n;
    m[1].state = STR("queued");
    assert_int_equal(messages_add(d, STR("c1"), m, 2, &e), ERR_OK);
    message_piece p = {STR("m2"), STR("Once upon "), STR("hm"), STR("writing")};
    assert_int_equal(messages_append(d, &p, 1, &e), ERR_OK);
    p = (message_piece){STR("m2"), STR("a time"), STR(""), STR("writing")};
    assert_int_equal(messages_append(d, &p, 1, &e), ERR_OK);
    assert_int_equal(n_hits("time"), 1); /* not in the index yet, but found */
    assert_int_equal(messages_recover(d, a, &pictures, &n, &e), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(messages_find(d, STR("c1"), STR("m2"), a, &found, &e), ERR_OK);
    assert_string_equal(found.content.ptr, "Once upon a time");
    assert_string_equal(found.thinking.ptr, "hm");
    assert_string_equal(found.state.ptr, "interrupted");
    assert_int_equal(n_hits("upon"), 1);
}

static void titles_that_people_gave_stay(void **state) {
    (void)state;
    chat c;
    add_chat("c1", "ann", 1);
    assert_int_equal(chats_set_title(d, STR("c1"), STR("made up"), &e), ERR_OK);
    assert_int_equal(chats_set_title(d, STR("c1"), STR("again"), &e), ERR_OK);
    chat touch = {.id = STR("c1"), .updated_ms = 9, .title = STR("first words")};
    assert_int_equal(chats_touch(d, &touch, &e), ERR_OK);
    assert_int_equal(chats_find(d, STR("ann"), STR("c1"), a, &c, &e), ERR_OK);
    assert_string_equal(c.title.ptr, "made up");
    assert_int_equal(c.updated_ms, 9);
}

static void count_chunk(const chunk *c, void *arg) {
    assert_true(c->n_vec == 2);
    ++*(size_t *)arg;
}

static void passages(void **state) {
    (void)state;
    file_row f = {.id = STR("f1"),
                  .user_id = STR("ann"),
                  .name = STR("a.txt"),
                  .mime = STR("text/plain"),
                  .hash = STR(""),
                  .state = STR("completed"),
                  .n_bytes = 3,
                  .created_ms = 1};
    assert_int_equal(files_add(d, &f, &e), ERR_OK);
    float v[2] = {1, 0};
    chunk_source from = {STR("f1"), STR("model-a")};
    chunk c[2] = {{.index = 0, .text = STR("running wolves"), .vec = v, .n_vec = 2},
                  {.index = 1, .text = STR("sleeping cats")}};
    assert_int_equal(chunks_put(d, &from, c, 2, &e), ERR_OK);
    assert_int_equal(knowledge_put_file(d, STR("k1"), STR("f1"), &e), ERR_OK);
    chunk_list got;
    file_list stale = {0};
    size_t n_seen = 0;
    chunk_scope mine = {STR("ann"), STR("[\"k1\"]"), 10},
                theirs = {STR("bob"), STR("[\"k1\",\"f1\"]"), 10};
    assert_int_equal(chunks_match(d, &mine, STR("Does a wolf run?"), a, &got, &e), ERR_OK);
    assert_int_equal(got.n, 1); /* the stem counts */
    assert_int_equal(chunks_match(d, &theirs, STR("wolves"), a, &got, &e), ERR_OK);
    assert_int_equal(got.n, 0);
    chunk_visit visit = {STR("model-a"), 2, count_chunk, &n_seen};
    assert_int_equal(chunks_each(d, &mine, &visit, &e), ERR_OK);
    assert_int_equal(n_seen, 1);
    visit.embedder = STR("model-b"); /* as long, but of another space */
    assert_int_equal(chunks_each(d, &mine, &visit, &e), ERR_OK);
    assert_int_equal(n_seen, 1);
    assert_int_equal(files_stale(d, &mine, STR("model-a"), a, &stale, &e), ERR_OK);
    assert_int_equal(stale.n, 0);
    assert_int_equal(files_stale(d, &mine, STR("model-b"), a, &stale, &e), ERR_OK);
    assert_int_equal(stale.n, 1);
    assert_int_equal(files_stale(d, &theirs, STR("model-b"), a, &stale, &e), ERR_OK);
    assert_int_equal(stale.n, 0);
    bool begun;
    assert_int_equal(files_begin(d, STR("f1"), &begun, &e), ERR_OK);
    assert_true(begun);
    assert_int_equal(files_begin(d, STR("f1"), &begun, &e), ERR_OK);
    assert_false(begun);
    assert_int_equal(chunks_put(d, &from, c, 0, &e), ERR_OK);
    assert_int_equal(chunks_match(d, &mine, STR("wolves"), a, &got, &e), ERR_OK);
    assert_int_equal(got.n, 0);
}

static void items_have_owners(void **state) {
    (void)state;
    item it = {STR("prompt"), STR("p1"), STR("ann"), STR("n"), STR("{}"), 1, 1}, got;
    bool any;
    assert_int_equal(items_add(d, &it, &e), ERR_OK);
    assert_int_equal(items_add(d, &it, &e), ERR_INVALID);
    it.user_id = STR("bob");
    assert_int_equal(items_add(d, &it, &e), ERR_OK); /* an id of their own */
    assert_int_equal(items_delete(d, &(item_key){STR("bob"), STR("prompt"), STR("p1")}, &any, &e),
                     ERR_OK);
    assert_int_equal(items_find(d, &(item_key){STR("bob"), STR("prompt"), STR("p1")}, a, &got, &e),
                     ERR_NOT_FOUND);
    assert_int_equal(items_find(d, &(item_key){STR("ann"), STR("prompt"), STR("p1")}, a, &got, &e),
                     ERR_OK);
    assert_int_equal(items_find(d, &(item_key){STR("ann"), STR("folder"), STR("p1")}, a, &got, &e),
                     ERR_NOT_FOUND);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, open_db, close_db)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(users_keep_an_admin),
        TEST(fields_that_are_not_there_stay),
        TEST(grants_end),
        TEST(chats_belong_to_somebody),
        TEST(trees_of_messages),
        TEST(there_are_limits),
        TEST(what_is_shared_stays),
        TEST(the_index_follows),
        TEST(what_was_said_survives),
        TEST(titles_that_people_gave_stay),
        TEST(passages),
        TEST(items_have_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
