#!/usr/bin/env node
// oxlint-disable-next-line import/no-unassigned-import -- it is to run before anything else is even loaded
import './thrift.js';
import { main } from '@latchkey/runtime';
import { nodeAgentProgram } from './program.js';

void main(nodeAgentProgram());
