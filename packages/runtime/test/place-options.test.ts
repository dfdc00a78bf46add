import { repeatInAdvice, sortOptions } from '@latchkey/runtime/cli';
import { Command, Option } from 'commander';
import { expect, it } from 'vitest';

it.each([
  ['place options only', []],
  ['other options too', ['--count <n>']],
])('--help of a command with %s lists the place options last', (_, others) => {
  const command = new Command('test').addOption(repeatInAdvice(new Option('--data <dir>', 'a folder')));
  for (const flags of others) command.option(flags, 'a number');
  const program = sortOptions(new Command('program').addCommand(command));

  const help = program.commands[0]?.helpInformation() ?? '';
  expect(help.match(/^\S.*:$/gm)).toEqual(['Options:', 'Where it works:']);
  expect(help.indexOf('-h, --help')).toBeLessThan(help.indexOf('--data <dir>'));
});
