/* The estimated hit-ratio curve of a store, as its writer left it: see firn/curve.h. */
#include <firn/curve.h>

#include "cold/store_internal.h"
#include "observe/curve_file.h"

int firn_store_get_curve(firn_store *store, firn_curve *curve) {
    if (store == NULL || curve == NULL || curve->size != sizeof *curve) {
        return FIRN_EINVAL;
    }
    int result = firn_curve_file_read(store->path, store->meta.store_id, curve, NULL, store->heap);
    return result < 0 ? firn_detail_set(&store->detail, result, "%s/%s: %s", store->path,
                                        FIRN_CURVE_FILE, firn_strerror(result))
                      : result;
}
