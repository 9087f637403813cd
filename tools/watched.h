/* What the commands that watch another process share: its page, and what it decided. */
#ifndef FIRN_TOOLS_WATCHED_H
#define FIRN_TOOLS_WATCHED_H

#include <firn/page.h>

/* Opens the page of a store; what is wrong is told in the name of the command. Results as of
 * firn_page_open. */
int open_page(const char *name, const char *path, firn_page **page);
/* "running", "closed" or "gone". */
const char *writer_state(const firn_page_info *info);
/* An object of all that is known of it. */
void json_decision(const firn_decision *decision);

#endif
