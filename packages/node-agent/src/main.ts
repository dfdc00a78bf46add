#!/usr/bin/env node
// First, so that it comes before what it is for.
import './thrift.js';
import { main } from '@latchkey/runtime';
import { nodeAgentProgram } from './program.js';

void main(nodeAgentProgram());
