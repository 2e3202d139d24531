// SPDX-License-Identifier: MIT
#include "daemon/csi/driver.h"

int main(int argc, char** argv) { return pkgfs::csi::run_driver({argv + 1, argv + argc}, pkgfs::Io::process()); }
