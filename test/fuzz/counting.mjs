/**
 * A load hook of Node: compiles TypeScript as it is imported, and lets the code of src/ count which
 * ways it takes, for libFuzzer to see.
 *
 * Every block, and every way that an `if`, a `case`, `?:` or a logical operator may go, has a
 * counter: an element of the array that globalThis.newFuzzCounters makes for the module.
 *
 * Source: https://nodejs.org/api/module.html "Customization hooks".
 */

import { readFile } from 'node:fs/promises';
import ts from 'typescript';

const counted = new URL('../../src/', import.meta.url).href;
const logicalOperators = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);

export async function load(url, context, nextLoad) {
  if (!url.endsWith('.ts')) return nextLoad(url, context);
  const { outputText } = ts.transpileModule(await readFile(new URL(url), 'utf8'), {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      inlineSourceMap: true,
    },
    fileName: url,
    transformers: url.startsWith(counted) ? { before: [countWays] } : {},
  });
  return { format: 'module', source: outputText, shortCircuit: true };
}

function countWays(context) {
  const make = context.factory;
  const counters = make.createUniqueName('counters');
  let count = 0;
  const increment = () =>
    make.createPostfixIncrement(make.createElementAccessExpression(counters, count++));
  const first = () => make.createExpressionStatement(increment());
  const way = (expression) =>
    make.createParenthesizedExpression(make.createComma(increment(), expression));
  // A block counts itself.
  const branch = (statement) =>
    ts.isBlock(statement) ? statement : make.createBlock([first(), statement]);

  const visit = (original) => {
    const node = ts.visitEachChild(original, visit, context);
    if (ts.isBlock(node)) return make.updateBlock(node, [first(), ...node.statements]);
    if (ts.isIfStatement(node)) {
      const otherwise = node.elseStatement ?? make.createEmptyStatement();
      const ways = [branch(node.thenStatement), branch(otherwise)];
      return make.updateIfStatement(node, node.expression, ...ways);
    }
    if (ts.isCaseClause(node)) {
      return make.updateCaseClause(node, node.expression, [first(), ...node.statements]);
    }
    if (ts.isDefaultClause(node)) {
      return make.updateDefaultClause(node, [first(), ...node.statements]);
    }
    if (ts.isConditionalExpression(node)) {
      const { condition, questionToken, whenTrue, colonToken, whenFalse } = node;
      const ways = [questionToken, way(whenTrue), colonToken, way(whenFalse)];
      return make.updateConditionalExpression(node, condition, ...ways);
    }
    if (ts.isBinaryExpression(node) && logicalOperators.has(node.operatorToken.kind)) {
      const { left, operatorToken, right } = node;
      return make.updateBinaryExpression(node, left, operatorToken, way(right));
    }
    return node;
  };

  return (original) => {
    const file = ts.visitEachChild(original, visit, context);
    const newCounters = make.createIdentifier('globalThis.newFuzzCounters');
    const array = make.createCallExpression(newCounters, undefined, [
      make.createNumericLiteral(count),
    ]);
    const declaration = make.createVariableDeclaration(counters, undefined, undefined, array);
    const list = make.createVariableDeclarationList([declaration], ts.NodeFlags.Const);
    const statement = make.createVariableStatement(undefined, list);
    return make.updateSourceFile(file, [statement, ...file.statements]);
  };
}
