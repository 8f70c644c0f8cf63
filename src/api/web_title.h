/* Titles of chats, made by the chat's own model in the background. */
#pragma once
#include "api/web_run.h"

/* The first words of a text, in `a`: a title until there is a better one. */
str web_title_of(arena *a, str text);
