/* Pictures in a chat: a message whose answer is made by the picture queue. Threads: any. */
#pragma once
#include "api/web_chats.h"

void web_picture_cancel(web *w, str message_id);
/* At start: a picture's job goes on, or has ended meanwhile. */
void web_picture_recover(web *w, const message *m);
/* The same picture with another seed, as a sibling; answers the request. */
void web_picture_again(web *w, http_request *r, const chat *c, const message *old);
json_t *web_base64(str bytes);
