/* A doubly linked list of objects through their prev and next, for policies to build on. */
#ifndef FIRN_HOT_OBJECT_LIST_H
#define FIRN_HOT_OBJECT_LIST_H

#include "object/object.h"

typedef struct firn_object_list {
    firn_object *head;
    firn_object *tail;
} firn_object_list;

static inline void firn_object_list_push_head(firn_object_list *list, firn_object *object) {
    object->prev = NULL;
    object->next = list->head;
    if (list->head != NULL) {
        list->head->prev = object;
    } else {
        list->tail = object;
    }
    list->head = object;
}

static inline void firn_object_list_push_tail(firn_object_list *list, firn_object *object) {
    object->next = NULL;
    object->prev = list->tail;
    if (list->tail != NULL) {
        list->tail->next = object;
    } else {
        list->head = object;
    }
    list->tail = object;
}

static inline void firn_object_list_remove(firn_object_list *list, firn_object *object) {
    if (object->prev != NULL) {
        object->prev->next = object->next;
    } else {
        list->head = object->next;
    }
    if (object->next != NULL) {
        object->next->prev = object->prev;
    } else {
        list->tail = object->prev;
    }
    object->prev = NULL;
    object->next = NULL;
}

#endif
