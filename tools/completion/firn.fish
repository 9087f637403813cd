# Completion of firn for fish. The lists of options are those of `firn COMMAND --help`; a test
# compares them.

set -l commands compact dump get help replay stat verify

complete -c firn -f
complete -c firn -n __fish_use_subcommand -l help -d 'All commands'
complete -c firn -n __fish_use_subcommand -l version -d 'The version'
complete -c firn -n __fish_use_subcommand -a compact -d 'Give space of a store back'
complete -c firn -n __fish_use_subcommand -a dump -d 'Print the entries of a store'
complete -c firn -n __fish_use_subcommand -a get -d 'Print the value of one key'
complete -c firn -n __fish_use_subcommand -a help -d 'Tell about a command'
complete -c firn -n __fish_use_subcommand -a replay -d 'Drive a cache with a trace'
complete -c firn -n __fish_use_subcommand -a stat -d 'Print the facts of a store'
complete -c firn -n __fish_use_subcommand -a verify -d 'Check all of a store, or repair it'
complete -c firn -n '__fish_seen_subcommand_from help' -a "$commands"

complete -c firn -n '__fish_seen_subcommand_from compact dump get stat verify' -a '(__fish_complete_directories)'
complete -c firn -n '__fish_seen_subcommand_from replay' -F

complete -c firn -n '__fish_seen_subcommand_from dump' -s v -l values -d 'The values too'
complete -c firn -n '__fish_seen_subcommand_from dump' -l json -d 'Lines of JSON'
complete -c firn -n '__fish_seen_subcommand_from dump' -l raw -d 'The bytes of the values'
complete -c firn -n '__fish_seen_subcommand_from dump' -l separator -x -d 'After each raw value'
complete -c firn -n '__fish_seen_subcommand_from dump' -s 0 -l null -d 'A zero byte after each raw value'
complete -c firn -n '__fish_seen_subcommand_from dump' -l prefix -x -d 'Only keys that begin so'
complete -c firn -n '__fish_seen_subcommand_from dump' -l min-size -x -d 'Only values of at least so many bytes'
complete -c firn -n '__fish_seen_subcommand_from dump' -l max-size -x -d 'Only values of at most so many bytes'
complete -c firn -n '__fish_seen_subcommand_from dump' -l newer -x -d 'Only entries written within an age'
complete -c firn -n '__fish_seen_subcommand_from dump' -l older -x -d 'Only entries written longer ago'
complete -c firn -n '__fish_seen_subcommand_from dump' -l expired -d 'Entries that have expired too'
complete -c firn -n '__fish_seen_subcommand_from dump' -l limit -x -d 'Stop after so many entries'
complete -c firn -n '__fish_seen_subcommand_from dump' -l help -d 'Options'

complete -c firn -n '__fish_seen_subcommand_from get' -l raw -d 'The bytes as they are'
complete -c firn -n '__fish_seen_subcommand_from get' -l escape -d 'Escape what is not printable'
complete -c firn -n '__fish_seen_subcommand_from get' -l json -d 'Value and metadata as JSON'
complete -c firn -n '__fish_seen_subcommand_from get' -l escaped-key -d 'Understand escapes in the key'
complete -c firn -n '__fish_seen_subcommand_from get' -l help -d 'Options'

complete -c firn -n '__fish_seen_subcommand_from replay' -l hot -x -d 'Memory'
complete -c firn -n '__fish_seen_subcommand_from replay' -l cold -x -d 'Disk'
complete -c firn -n '__fish_seen_subcommand_from replay' -l policy -x -a 'lru slru clock sieve s3fifo arc tinylfu gdsf auto' -d 'Eviction policy'
complete -c firn -n '__fish_seen_subcommand_from replay' -l capacity -x -d 'Simulate with that much room'
complete -c firn -n '__fish_seen_subcommand_from replay' -l jobs -x -d 'Simulations at a time'
complete -c firn -n '__fish_seen_subcommand_from replay' -l plot -r -d 'Plot simulations as SVG'
complete -c firn -n '__fish_seen_subcommand_from replay' -l ratio -x -d 'By how much simulated values become smaller below'
complete -c firn -n '__fish_seen_subcommand_from replay' -l tier -x -a 'both hot' -d 'Tiers'
complete -c firn -n '__fish_seen_subcommand_from replay' -l promotion -x -a 'always second-hit' -d 'When a cold hit comes up'
complete -c firn -n '__fish_seen_subcommand_from replay' -l write-mode -x -a 'on-eviction behind through' -d 'When entries are written'
complete -c firn -n '__fish_seen_subcommand_from replay' -l durability -x -a 'periodic none commit' -d 'When the store is synced'
complete -c firn -n '__fish_seen_subcommand_from replay' -l level -x -d 'zstd level, 0 for none'
complete -c firn -n '__fish_seen_subcommand_from replay' -l ttl -x -d 'Lifetime of entries'
complete -c firn -n '__fish_seen_subcommand_from replay' -l threads -x -a '0 1' -d 'Background threads'
complete -c firn -n '__fish_seen_subcommand_from replay' -l shards -x -d 'Locks of the hot tier'
complete -c firn -n '__fish_seen_subcommand_from replay' -l value-size -x -d 'Of requests without a size'
complete -c firn -n '__fish_seen_subcommand_from replay' -l restart-at -x -d 'Percent of the trace before the restart'
complete -c firn -n '__fish_seen_subcommand_from replay' -l no-restart -d 'Do not restart'
complete -c firn -n '__fish_seen_subcommand_from replay' -l keep -d 'Keep the temporary store'
complete -c firn -n '__fish_seen_subcommand_from replay' -l json -d 'The report as JSON'
complete -c firn -n '__fish_seen_subcommand_from replay' -s q -l quiet -d 'No progress'
complete -c firn -n '__fish_seen_subcommand_from replay' -l help -d 'Options'

complete -c firn -n '__fish_seen_subcommand_from stat' -l json -d 'As JSON'
complete -c firn -n '__fish_seen_subcommand_from stat' -l help -d 'Options'

complete -c firn -n '__fish_seen_subcommand_from verify' -l repair -r -a '(__fish_complete_directories)' -d 'Salvage into a new store'
complete -c firn -n '__fish_seen_subcommand_from verify' -l force -d 'Salvage although stale values may come back'
complete -c firn -n '__fish_seen_subcommand_from verify' -l json -d 'The report as JSON'
complete -c firn -n '__fish_seen_subcommand_from verify' -s q -l quiet -d 'The exit code only'
complete -c firn -n '__fish_seen_subcommand_from verify' -l help -d 'Options'

complete -c firn -n '__fish_seen_subcommand_from compact' -l json -d 'The report as JSON'
complete -c firn -n '__fish_seen_subcommand_from compact' -s q -l quiet -d 'The exit code only'
complete -c firn -n '__fish_seen_subcommand_from compact' -l help -d 'Options'
