// Programs in C++ that end in the way of their first argument.
#include <cassert>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

int main(int argc, char **argv) {
    std::string how = argv[1];
    std::vector<int> cells(10);
    for (int i = 1; i < 10; i++) std::printf("step %d energy %.4f\n", i, 100.0 / i);
    std::fflush(stdout);
    if (how == "assertion") assert(cells.size() % 4 == 0);
    if (how == "range") return cells.at(cells.size() + argc);
    if (how == "memory") {
        std::vector<double> *field = new std::vector<double>(900000000000ULL);
        std::printf("%f\n", (*field)[3]);
    }
    if (how == "key") return std::map<std::string, int>{}.at("viscosity");
    if (how == "number") return std::stoi("four");
    if (how == "logic") throw std::runtime_error("unknown option --solvr");
    if (how == "exit") return 3;
    if (how == "input") {
        std::ifstream file("input/params.in");
        if (!file) { std::cerr << "Error: cannot open input file input/params.in" << std::endl; return 2; }
    }
    if (how == "overflow") { volatile int *p = new int[4]; p[4 + argc] = 1; return p[4 + argc]; }
    if (how == "fatal_abort") {
        std::cerr << "FATAL ERROR: keyword 'deltaT' is undefined in dictionary 'controlDict'" << std::endl;
        std::abort();
    }
    if (how == "done") std::puts("simulation finished");
    return 0;
}
