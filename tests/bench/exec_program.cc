// SPDX-License-Identifier: MIT
// The program that the benchmark starts from a mount: linked statically, so that nothing but it is read.
int main() { return 0; }
