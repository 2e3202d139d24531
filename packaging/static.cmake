# PKGFS_STATIC: which libraries are linked statically beside those of cxx-libraries.cmake. What is left to the system:
# glibc (names of hosts and users are looked up by plug-ins), and libcurl and libarchive, each with dozens of others.
find_library(FUSE3_ARCHIVE libfuse3.a REQUIRED)
add_library(pkgfs_static_fuse3 INTERFACE)
target_include_directories(pkgfs_static_fuse3 SYSTEM INTERFACE ${FUSE3_INCLUDE_DIRS})
target_link_libraries(pkgfs_static_fuse3 INTERFACE ${FUSE3_ARCHIVE} Threads::Threads ${CMAKE_DL_LIBS} rt)
set(fuse3_target pkgfs_static_fuse3)

add_library(pkgfs_static_crypto INTERFACE)
target_compile_definitions(pkgfs_static_crypto INTERFACE PKGFS_LINKED_CRYPTO)
target_link_libraries(pkgfs_static_crypto INTERFACE OpenSSL::Crypto)
set(crypto_target pkgfs_static_crypto)

add_link_options(-static-libstdc++ -static-libgcc -Wl,--as-needed)
