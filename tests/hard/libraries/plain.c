/* A library of C that allocates, and calls back. Built by tests/places.rs. */
#include <stdlib.h>

size_t work(size_t turns) {
    size_t sum = 0;
    for (size_t turn = 0; turn < turns; turn++) {
        size_t count = turn % 50 + 1;
        size_t *numbers = malloc(count * sizeof *numbers);
        if (!numbers) return 0;
        for (size_t at = 0; at < count; at++) numbers[at] = at;
        sum += numbers[count - 1] + 1;
        free(numbers);
    }
    return sum;
}

void call_back(void (*function)(void)) {
    /* Volatile: a compiler may leave out a block that nobody looks at, and with it this function's frame. */
    volatile char *held = malloc(10);
    if (!held) return;
    held[0] = 1;
    function();
    held[1] = 2;
    free((void *)held);
}
