/* Chats and messages as the page sees them. Threads: any. */
#pragma once
#include "api/web.h"
#include "store/chats.h"

/* As in lists. */
json_t *web_chat_json(const chat *c);
json_t *web_message_json(const message *m);
/* "user_id" and "chat" with its history: Open WebUI's shape. */
json_t *web_chat_whole(const chat *c, const message *list, size_t n);

void web_reply_chat(web *w, http_request *r, const chat *c); /* all of it, or why not */

/* The chat of the path, which the gate has found to be the asker's; false: answered. */
bool web_take_chat(web *w, http_request *r, chat *ret);
/* The message of the path, in this chat; false: answered. */
bool web_take_message(web *w, http_request *r, const chat *c, message *ret);

/* Tells the chat's and its user's listeners that it changed. */
void web_chat_changed(web *w, str user_id, str chat_id);
void web_message_changed(web *w, const message *m);

/* Stops what runs in the user's chats and ends their streams: they are about to be deleted. */
void web_forget_user(web *w, str user_id);
