# Made from the table of commands and options in src/cli/table.rs; see tests/gateway/completions.rs.
complete -c cc-gateway -f
complete -c cc-gateway -n __fish_use_subcommand -a check -d 'read everything serving would read and say what is wrong with it'
complete -c cc-gateway -n __fish_use_subcommand -a hash-password -d 'hash a password (prompted for, or from stdin) for the agents file'
complete -c cc-gateway -n __fish_use_subcommand -a certificate -d 'make a self-signed certificate and its key for a first start'
complete -c cc-gateway -n __fish_use_subcommand -a demo -d 'serve sample recordings and show how to download them'
complete -c cc-gateway -n __fish_use_subcommand -l config -r -F -d 'the settings'
complete -c cc-gateway -n '__fish_seen_subcommand_from check' -l quiet -d 'print nothing but what is wrong'
complete -c cc-gateway -n '__fish_seen_subcommand_from check' -l config -r -F -d 'the settings'
complete -c cc-gateway -n '__fish_seen_subcommand_from certificate' -l out -x -a '(__fish_complete_directories)' -d 'directory for certificate.pem and private-key.pem'
complete -c cc-gateway -n '__fish_seen_subcommand_from certificate' -l name -x -a '(__fish_print_hostnames)' -d 'a name or address clients use for this machine'
complete -c cc-gateway -n '__fish_seen_subcommand_from demo' -l listen -x -d 'address and port of the demo'
complete -c cc-gateway -s h -l help -d 'print this'
complete -c cc-gateway -s V -l version -d 'print the version'
