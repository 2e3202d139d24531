// SPDX-License-Identifier: MIT
#include "daemon/commands/program.h"

int main(int argc, char** argv) { return pkgfs::run_program({argv, argv + argc}, pkgfs::Io::process()); }
