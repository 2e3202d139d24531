# PKGFS_STATIC: which libraries are linked statically, or used by their headers only. What is left to the system: glibc
# (names of hosts and users are looked up by plug-ins), and libcurl and libarchive, each with dozens of others.
find_library(FUSE3_ARCHIVE libfuse3.a REQUIRED)
add_library(pkgfs_static_fuse3 INTERFACE)
target_include_directories(pkgfs_static_fuse3 SYSTEM INTERFACE ${FUSE3_INCLUDE_DIRS})
target_link_libraries(pkgfs_static_fuse3 INTERFACE ${FUSE3_ARCHIVE} Threads::Threads ${CMAKE_DL_LIBS} rt)
set(fuse3_target pkgfs_static_fuse3)

find_package(fmt REQUIRED)
add_library(pkgfs_static_spdlog INTERFACE)
target_compile_definitions(pkgfs_static_spdlog INTERFACE SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY=1)
target_link_libraries(pkgfs_static_spdlog INTERFACE Threads::Threads)
set(spdlog_target pkgfs_static_spdlog)

add_library(pkgfs_static_toml INTERFACE)  # without the definitions that want the library
set(toml_target pkgfs_static_toml)

add_library(pkgfs_static_crypto INTERFACE)
target_compile_definitions(pkgfs_static_crypto INTERFACE PKGFS_LINKED_CRYPTO)
target_link_libraries(pkgfs_static_crypto INTERFACE OpenSSL::Crypto)
set(crypto_target pkgfs_static_crypto)

add_link_options(-static-libstdc++ -static-libgcc -Wl,--as-needed)
