from dynbench.cli import main

main()
