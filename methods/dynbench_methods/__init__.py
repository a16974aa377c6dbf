"""dynbench's built-in methods: ordinary plugins, one file each, registered as anyone's would be."""
