#!/usr/bin/env node
import { main } from '@latchkey/runtime/cli';
import { authServerProgram } from './program.js';

void main(authServerProgram());
