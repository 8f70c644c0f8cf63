/* hob: commands, start-up and shutdown order. */
#include <stdio.h>

int main(void) {
    puts("hob");
    return 0;
}
