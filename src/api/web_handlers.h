/* Handlers of the web listener by file, and what they share among themselves. */
#pragma once
#include "api/web_chats.h"
#include "store/files.h"

#define WEB_HANDLER(name) void name(http_request *r, void *ctx)

WEB_HANDLER(web_health); /* web_site.c */
WEB_HANDLER(web_health_db);
WEB_HANDLER(web_version);
WEB_HANDLER(web_config_get);
WEB_HANDLER(web_signup); /* web_auth.c */
WEB_HANDLER(web_signin);
WEB_HANDLER(web_signout);
WEB_HANDLER(web_session_user);
WEB_HANDLER(web_sessions);
WEB_HANDLER(web_sessions_delete);
WEB_HANDLER(web_session_delete);
WEB_HANDLER(web_keys);
WEB_HANDLER(web_key_add);
WEB_HANDLER(web_key_delete);
WEB_HANDLER(web_single_key);
WEB_HANDLER(web_single_key_get);
WEB_HANDLER(web_single_key_delete);
WEB_HANDLER(web_update_profile);
WEB_HANDLER(web_update_password);
WEB_HANDLER(web_users_list); /* web_users.c */
WEB_HANDLER(web_user_add);
WEB_HANDLER(web_user_update);
WEB_HANDLER(web_user_delete);
WEB_HANDLER(web_settings_get);
WEB_HANDLER(web_settings_put);
WEB_HANDLER(web_site_get);
WEB_HANDLER(web_site_put);
WEB_HANDLER(web_models_get); /* web_models.c */
WEB_HANDLER(web_model_load);
WEB_HANDLER(web_model_unload);
WEB_HANDLER(web_model_pin);
WEB_HANDLER(web_completions);
WEB_HANDLER(web_embeddings);
WEB_HANDLER(web_openai_models);
WEB_HANDLER(web_pulls_list); /* web_pulls.c */
WEB_HANDLER(web_pull_add);
WEB_HANDLER(web_pull_delete);
WEB_HANDLER(web_chats_list); /* web_chats.c */
WEB_HANDLER(web_chats_pinned);
WEB_HANDLER(web_chats_archived);
WEB_HANDLER(web_chats_folder);
WEB_HANDLER(web_chats_search);
WEB_HANDLER(web_chats_delete);
WEB_HANDLER(web_chats_archive_all);
WEB_HANDLER(web_chats_unarchive_all);
WEB_HANDLER(web_chat_new);
WEB_HANDLER(web_chat_get);
WEB_HANDLER(web_chat_thread);
WEB_HANDLER(web_chat_events);
WEB_HANDLER(web_user_events);
WEB_HANDLER(web_chat_update);
WEB_HANDLER(web_chat_delete);
WEB_HANDLER(web_chat_pin);
WEB_HANDLER(web_chat_archive);
WEB_HANDLER(web_chat_folder);
WEB_HANDLER(web_chat_title);
WEB_HANDLER(web_chat_share); /* web_share.c */
WEB_HANDLER(web_chat_share_get);
WEB_HANDLER(web_chat_unshare);
WEB_HANDLER(web_chat_shared);
WEB_HANDLER(web_share_delete);
WEB_HANDLER(web_share_file);
WEB_HANDLER(web_chat_tags); /* web_tags.c */
WEB_HANDLER(web_chat_tag_add);
WEB_HANDLER(web_chat_tag_delete);
WEB_HANDLER(web_chat_tags_clear);
WEB_HANDLER(web_tags_all);
WEB_HANDLER(web_message_post); /* web_messages.c */
WEB_HANDLER(web_message_get);
WEB_HANDLER(web_message_edit);
WEB_HANDLER(web_message_delete);
WEB_HANDLER(web_message_regenerate);
WEB_HANDLER(web_message_continue);
WEB_HANDLER(web_message_stop);
WEB_HANDLER(web_message_rate);
WEB_HANDLER(web_chat_stop);
WEB_HANDLER(web_tasks_of);
WEB_HANDLER(web_task_stop);
WEB_HANDLER(web_chats_import); /* web_io.c */
WEB_HANDLER(web_chats_all);
WEB_HANDLER(web_chats_export);
WEB_HANDLER(web_chat_export);
WEB_HANDLER(web_chat_clone);
WEB_HANDLER(web_pictures_workflows); /* web_picture.c */
WEB_HANDLER(web_picture_post);
WEB_HANDLER(web_picture_workflow);
WEB_HANDLER(web_file_post); /* web_files.c */
WEB_HANDLER(web_files_list);
WEB_HANDLER(web_file_get);
WEB_HANDLER(web_file_content);
WEB_HANDLER(web_file_text);
WEB_HANDLER(web_file_status);
WEB_HANDLER(web_file_delete);
WEB_HANDLER(web_knowledge_list); /* web_knowledge.c */
WEB_HANDLER(web_knowledge_add);
WEB_HANDLER(web_knowledge_get);
WEB_HANDLER(web_knowledge_update);
WEB_HANDLER(web_knowledge_delete);
WEB_HANDLER(web_knowledge_file_add);
WEB_HANDLER(web_knowledge_file_remove);
WEB_HANDLER(web_knowledge_reset);
WEB_HANDLER(web_knowledge_query);
WEB_HANDLER(web_knowledge_reindex);
WEB_HANDLER(web_folders); /* web_items.c */
WEB_HANDLER(web_folder_add);
WEB_HANDLER(web_folder_get);
WEB_HANDLER(web_folder_update);
WEB_HANDLER(web_folder_parent);
WEB_HANDLER(web_folder_expanded);
WEB_HANDLER(web_folder_delete);
WEB_HANDLER(web_prompts);
WEB_HANDLER(web_prompt_add);
WEB_HANDLER(web_prompt_get);
WEB_HANDLER(web_prompt_update);
WEB_HANDLER(web_prompt_delete);
WEB_HANDLER(web_presets);
WEB_HANDLER(web_preset_add);
WEB_HANDLER(web_preset_get);
WEB_HANDLER(web_preset_update);
WEB_HANDLER(web_preset_delete);
WEB_HANDLER(web_workflows);
WEB_HANDLER(web_workflow_add);
WEB_HANDLER(web_workflow_get);
WEB_HANDLER(web_workflow_update);
WEB_HANDLER(web_workflow_delete);
WEB_HANDLER(web_machine_get); /* web_meter.c */
WEB_HANDLER(web_machine_events);
WEB_HANDLER(web_logs);

/* web_auth.c */
bool web_email_ok(str email);
bool web_take_account(http_request *r, const json_t *body, user *u, str *password);
err_code web_add_account(web *w, arena *a, user *u, str password, bool open, err *e);

/* web_io.c: one chat of the body as it is, answered; and a history over a chat's messages. */
void web_import_one(web *w, http_request *r, const json_t *v, const json_t *around);
bool web_merge_history(web *w, http_request *r, chat *c, const json_t *inner);

/* web_messages.c: a list of files' ids as it is stored in a message; false: answered. */
bool web_take_files(web *w, http_request *r, const json_t *list, str *ret);
/* Where a new message hangs: the current leaf when nothing is said, the root for null. */
bool web_take_parent(web *w, http_request *r, const json_t *body, const chat *c, str *ret);
void web_run_refused(web *w, message *answer, const err *e);
bool web_run_busy_below(web *w, const chat *c, str message_id);

/* web_models.c */
json_t *web_preset_json(const item *it);
