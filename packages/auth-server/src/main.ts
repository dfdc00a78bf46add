#!/usr/bin/env node
import { main } from '@latchkey/runtime';
import { authServerProgram } from './program.js';

void main(authServerProgram());
