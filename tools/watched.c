/* See watched.h. */
#include "watched.h"

#include <stdio.h>

#include "tool.h"

int open_page(const char *name, const char *path, firn_page **page) {
    char why[512] = "";
    int result = firn_page_open(page, path, why, sizeof why);
    if (result != FIRN_OK) {
        complain(name, "cannot look at the page of the store: %s (%s)", why, firn_strerror(result));
    }
    return result;
}

const char *writer_state(const firn_page_info *info) {
    return info->closed != 0 ? "closed" : info->alive != 0 ? "running" : "gone";
}

void json_decision(const firn_decision *decision) {
    printf("{\"time_ms\": %llu, \"hash\": \"%016llx\", \"version\": %llu, \"kind\": \"%s\", "
           "\"reason\": \"%s\", \"detail\": %llu}",
           (unsigned long long)decision->time_ms, (unsigned long long)decision->hash,
           (unsigned long long)decision->version, firn_decision_name(decision->kind),
           firn_decision_reason(decision->reason), (unsigned long long)decision->detail);
}
