# Completion for fish. make install puts it where fish finds it under each
# program's name.
for program in bottle-start bottle-attach bottle-ls bottle-approve bottle-edit bottle-log bottle-stop bottle-dash
    complete --command $program --no-files --keep-order --arguments "($program __complete fish (commandline --tokenize --cut-at-cursor --current-process) \"\$(commandline --cut-at-cursor --current-token)\")"
end
