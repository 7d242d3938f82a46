# Filters a header for Doxygen: without private namespaces, and without the inline namespace of the version.
/^namespace larder::\(redis::\)*detail {/,/^}  \/\/ namespace larder::\(redis::\)*detail/d
/namespace LARDER_.*ABI/d
