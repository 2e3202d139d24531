# The C++ libraries that pkgfs uses by their headers only: Debian has no static ones of them.
find_package(fmt REQUIRED)
add_library(pkgfs_own_spdlog INTERFACE)
target_compile_definitions(pkgfs_own_spdlog INTERFACE SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY=1)
target_link_libraries(pkgfs_own_spdlog INTERFACE Threads::Threads)
set(spdlog_target pkgfs_own_spdlog)

add_library(pkgfs_own_toml INTERFACE)  # without the definitions that want the library
set(toml_target pkgfs_own_toml)
