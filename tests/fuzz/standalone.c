/* Runs a fuzz target over files, where libFuzzer is not at hand: each argument is a file or a
 * folder of files. So the corpus is a test like any other. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs;

static int run_file(const char *path, size_t size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size + 1);
    int failed = 1;
    if (file != NULL && data != NULL && fread(data, 1, size, file) == size) {
        failed = LLVMFuzzerTestOneInput(data, size);
        inputs++;
    } else {
        perror(path);
    }
    free(data);
    if (file != NULL) {
        fclose(file);
    }
    return failed;
}

static int run(const char *path);

static int run_folder(const char *path) {
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    int failed = count < 0;
    for (int i = 0; i < count; i++) {
        char *inside = NULL;
        if (names[i]->d_name[0] != '.' && asprintf(&inside, "%s/%s", path, names[i]->d_name) > 0) {
            failed |= run(inside);
            free(inside);
        }
        free(names[i]);
    }
    if (count >= 0) {
        free(names);
    }
    return failed;
}

static int run(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) {
        perror(path);
        return 1;
    }
    return S_ISDIR(status.st_mode) ? run_folder(path) : run_file(path, (size_t)status.st_size);
}

int main(int count, char **arguments) {
    int failed = count < 2;
    for (int i = 1; i < count; i++) {
        failed |= run(arguments[i]);
    }
    printf("%u inputs\n", inputs);
    return failed != 0 || inputs == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
