/* Makes a store with entries that have types, links and owners, for test_program.sh: see
 * linked_store.h. Usage: linked_store PATH */
#include "linked_store.h"

int main(int argc, char **argv) {
    return argc == 2 && make_linked_store(argv[1]) == FIRN_OK ? 0 : 1;
}
