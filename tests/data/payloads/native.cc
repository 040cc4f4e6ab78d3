// Native programs that die; each is chosen by the name that the program was called by.
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <vector>

int main(int, char **argv) {
    volatile int zero = 0;
    if (std::strstr(argv[0], "throws"))
        throw std::runtime_error("collective engine: no buffer for 16 ranks");
    if (std::strstr(argv[0], "divides"))
        std::printf("%d\n", 7 / zero);
    if (std::strstr(argv[0], "illegal"))
        __builtin_trap();
    if (std::strstr(argv[0], "smashes")) {
        char *p = new char[16];
        std::memset(p, 65, 4096);
        delete[] p;
        std::vector<char *> more;
        for (int i = 0; i < 1000; i++) more.push_back(new char[16 + i]);
    }
}
